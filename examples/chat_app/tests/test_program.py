"""The client as a program, in whatever language: it is told where to dial. The live server is a program, too."""

import os
import subprocess
import sys

import pytest

SERVER = [sys.executable, "-m", "chat_app.server", "--kind", "ack", "--timestamp", "7", "--listen", "{address}"]
CLIENT = [sys.executable, "-m", "chat_app.client", "--count", "2", "--interval", "0", "--timestamp", "7"]


@pytest.mark.duplexmock(upstream=SERVER)
def test_the_program_says_how_the_call_has_ended(duplex):
    client = subprocess.run(
        CLIENT, env={**os.environ, "DUPLEXMOCK_TARGET": duplex.target}, capture_output=True, text=True
    )

    assert (client.returncode, client.stderr) == (0, "")
    assert client.stdout.splitlines()[-1] == "ended: OK"
