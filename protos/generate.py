"""Generate the protobuf and gRPC modules beside their sources.

Run by `make setup` and by the wheel's build hook; the output is never committed.
"""

import re
import shutil
import sys
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def _plugin(name: str) -> str:
    beside_interpreter = Path(sys.executable).parent / name
    found = str(beside_interpreter) if beside_interpreter.exists() else shutil.which(name)
    if found is None:
        sys.exit(f"{name} is not installed: run `make setup`")
    return found


def generate(root: Path = ROOT) -> None:
    """Write *_pb2.py, *_pb2_grpc.py and their stubs for every .proto below root. Exits with protoc's message on error."""
    from grpc_tools import protoc  # the build environment only has it once its requirements are in

    sources = sorted(str(path) for path in root.glob("steno/**/*.proto"))
    arguments = [
        "protoc",
        f"--proto_path={root}",
        f"--proto_path={files('grpc_tools') / '_proto'}",
        f"--plugin=protoc-gen-mypy={_plugin('protoc-gen-mypy')}",
        f"--plugin=protoc-gen-mypy_grpc={_plugin('protoc-gen-mypy_grpc')}",
        f"--python_out={root}",
        f"--grpc_python_out={root}",
        f"--mypy_out=quiet:{root}",
        f"--mypy_grpc_out=quiet:{root}",
    ]
    if protoc.main([*arguments, *sources]) != 0:
        sys.exit("protoc failed")
    for module in root.glob("steno/**/*_pb2_grpc.py"):
        _name_async_stubs(module)


def _name_async_stubs(module: Path) -> None:
    """Give the name that the .pyi has for a stub on a grpc.aio channel to the class that serves both at run time."""
    source = module.read_text()
    names = re.findall(r"^class (\w+)Stub\b", source, re.MULTILINE)
    aliases = "".join(f"\n{name}AsyncStub = {name}Stub\n" for name in names)
    module.write_text(source + aliases)


if __name__ == "__main__":
    generate()
