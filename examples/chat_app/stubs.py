"""Generate the stubs of the package from proto/chat.proto: `python examples/chat_app/stubs.py`.

Generated code refuses a protobuf and a grpcio older than those it was made with, and accepts newer ones. So it is made
with an old grpcio-tools, in a virtual environment of its own that is thrown away: grpcio-tools 1.68.0 makes stubs for
grpcio >= 1.68.0 and protobuf >= 5.28.1.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

GRPCIO_TOOLS = "grpcio-tools==1.68.0"

HERE = Path(__file__).resolve().parent
PROTO = HERE.parents[1] / "proto"


def generate(out: Path) -> None:
    """Write chat_app/chat_pb2.py, chat_pb2.pyi and chat_pb2_grpc.py below `out`; needs a package index.

    The file is named chat_app/chat.proto to the compiler, so that the stubs import each other as parts of the package.
    """
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", GRPCIO_TOOLS], check=True)
        outputs = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
        command = [python, "-m", "grpc_tools.protoc", f"-Ichat_app={PROTO}", *outputs, "chat_app/chat.proto"]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    generate(HERE)
