"""Fixtures that several folders of tests share."""

from collections.abc import Callable

import pytest

from tests.peers.programs import MissingTool, command

pytest_plugins = ["pytester"]
pytest.register_assert_rewrite("tests.net.fidelity")


@pytest.fixture(scope="session")
def peer() -> Callable[[str, str], list[str]]:
    """`peer(language, program)` is the command of a peer program; a machine that cannot have it skips the test."""

    def find(language: str, program: str) -> list[str]:
        try:
            return command(language, program)
        except MissingTool as missing:
            pytest.skip(f"no {language} peers: {missing}")

    return find
