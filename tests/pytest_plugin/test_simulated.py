"""The fixture `duplex_sim`, in projects of other people: with and without plugins that run coroutines."""

from __future__ import annotations

import textwrap

import pytest

CHATS = """
    import asyncio
    import time
    import grpc.aio
    import pytest
    from chat_app.chat_pb2_grpc import add_ChatServiceServicer_to_server
    from chat_app.client import Talk, chat
    from chat_app.server import AckServicer

    def serve(sim):
        add_ChatServiceServicer_to_server(AckServicer(), sim.aio_server())
        return sim.aio_channel()
"""

PLAIN = """
    def test_plain(duplex_sim):
        heard = duplex_sim.run(chat(serve(duplex_sim), Talk(deadline_s=1000, interval_s=100)))
        assert [message.message for message in heard.messages][2] == "ack: Hi there! Message 2"
        assert duplex_sim.now_s == 300
"""

ASYNC = """
    async def test_async(duplex_sim, tmp_path):
        begun = time.monotonic()
        heard = await chat(serve(duplex_sim), Talk(deadline_s=1000, interval_s=100))
        await asyncio.sleep(1000)
        assert len(heard.messages) == 3
        assert (duplex_sim.now_s, asyncio.get_running_loop()) == (1300, duplex_sim.loop)
        assert time.monotonic() - begun < 100
"""


def test_a_plain_function_runs_what_it_wants_to(pytester: pytest.Pytester) -> None:
    write(pytester, CHATS, PLAIN)
    pytester.runpytest_inprocess("-p", "no:asyncio").assert_outcomes(passed=1)


@pytest.mark.parametrize("options", [("-p", "no:asyncio"), ("--asyncio-mode=strict",), ("--asyncio-mode=auto",)])
def test_an_async_test_runs_on_the_virtual_loop(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    write(pytester, CHATS, ASYNC)
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=1)


def test_an_async_test_that_is_marked_for_asyncio_does_too(pytester: pytest.Pytester) -> None:
    write(pytester, CHATS, ASYNC.replace("    async", "    @pytest.mark.asyncio\n    async"))
    pytester.runpytest_inprocess("--asyncio-mode=strict").assert_outcomes(passed=1)


def test_an_async_test_of_a_class_does_too(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        CHATS,
        """
    class TestChat:
        async def test_async(self, duplex_sim):
            assert len((await chat(serve(duplex_sim), Talk())).messages) == 3
        """,
    )
    pytester.runpytest_inprocess("--asyncio-mode=auto").assert_outcomes(passed=1)


def test_other_async_tests_are_left_alone(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
    import asyncio
    async def test_real():
        assert type(asyncio.get_running_loop()).__name__ != "VirtualLoop"
    """,
    )
    pytester.runpytest_inprocess("--asyncio-mode=auto").assert_outcomes(passed=1)


def test_what_is_left_is_told_in_a_warning(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
    import asyncio
    async def test_leaks(duplex_sim):
        duplex_sim.loop.create_task(asyncio.Event().wait(), name="forgotten")
    """,
    )
    result = pytester.runpytest_inprocess("-p", "no:asyncio")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*left at the end of the simulation:*", "*forgotten waits for *Event.wait*"])


def test_a_deadlock_fails_the_test_at_once(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        CHATS,
        """
    async def test_stuck(duplex_sim):
        call = serve(duplex_sim).stream_stream("/chat.ChatService/Chat")()
        await call.read()
    """,
    )
    result = pytester.runpytest_inprocess("-p", "no:asyncio")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*deadlock: nothing is under way, and every task waits*"])


def write(pytester: pytest.Pytester, *parts: str) -> None:
    pytester.makepyfile("".join(textwrap.dedent(part) for part in parts))
