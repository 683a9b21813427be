"""Make what deploy/compose.yaml mounts: `python -m tools.compose_setup STATE`.

What is there stays; certificates that are due are renewed, which running services notice.
"""

import argparse
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from services.stack.certificates.folder import IDENTITIES, CertificateFolder, make_certificates
from services.stack.data_directory import write_private
from services.stack.secret_files import init_secrets

IMAGE_USER = 65532
FOLDERS = (
    "postgres",
    "events",
    "objects",
    "storage",
    "inference/models",
    "inference/scratch",
    "inference/detectors",
    "prometheus",
    "grafana",
)
HOSTS = ("billing", "storage", "jobs", "inference", "nats", "triton", "postgres")
WITH_DATABASE = ("billing", "storage", "jobs")
# Of inference, which runs a copy of the model on each; compose refuses more than the machine has.
_CPUS = 4
_DATABASE = "postgresql+psycopg://steno:{password}@postgres/steno?sslmode=verify-full&sslrootcert=/etc/steno/certificates/ca.crt"


def set_up(state: Path, user: int, group: int) -> None:
    """Keys, passwords, certificates, folders and compose.env below `state`, for containers that run as the user. Raises OSError."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    init_secrets(state / "keys")
    (state / "secrets").mkdir(exist_ok=True, mode=0o700)
    _write_passwords(state / "secrets", state / "objects.env")
    for name in FOLDERS:
        (state / "data" / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    make_certificates(CertificateFolder(state / "certificates"), [*IDENTITIES, "client/postgres"], hosts=HOSTS)
    write_private(
        state / "compose.env", f"STENO_STATE={state}\nSTENO_UID={user}\nSTENO_GID={group}\nSTENO_CPUS={min(_CPUS, os.cpu_count() or 1)}\n"
    )


def _write_passwords(folder: Path, objects: Path) -> None:
    password = _once(folder / "postgres-password", lambda: secrets.token_hex(24))
    for service in WITH_DATABASE:
        _once(folder / f"STENO_{service.upper()}_DATABASE_URL", lambda: _DATABASE.format(password=password))
    _once(folder / "garage-rpc", lambda: secrets.token_hex(32))
    _once(folder / "grafana-password", lambda: secrets.token_urlsafe(18))
    # Garage's form: GK and 24 hexadecimal digits, and 64.
    key = _once(folder / "STENO_STORAGE_S3_ACCESS_KEY_ID", lambda: f"GK{secrets.token_hex(12)}")
    secret = _once(folder / "STENO_STORAGE_S3_SECRET_ACCESS_KEY", lambda: secrets.token_hex(32))
    _once(objects, lambda: f"GARAGE_DEFAULT_ACCESS_KEY={key}\nGARAGE_DEFAULT_SECRET_KEY={secret}\nGARAGE_DEFAULT_BUCKET=steno\n")


def _once(path: Path, make: Callable[[], str]) -> str:
    """The file's text, made where it is missing."""
    if not path.exists():
        write_private(path, make())
    return path.read_text()


def hand_over(state: Path, user: int, group: int) -> None:
    """Give everything but what containers wrote to the user. Only root may. Raises OSError."""
    for path in (state, *(found for found in state.rglob("*") if "data" not in found.relative_to(state).parts[:1])):
        os.chown(path, user, group)
    for path in (state / "data", *(state / "data" / part for name in FOLDERS for part in (name, Path(name).parts[0]))):
        os.chown(path, user, group)


def main(arguments: Sequence[str]) -> int:
    """Set up the folder; as root for the images' own user, else for the one who runs this."""
    parser = argparse.ArgumentParser(prog="python -m tools.compose_setup", description=__doc__)
    parser.add_argument("state", type=Path, help="folder for keys, passwords and data")
    state: Path = parser.parse_args(arguments).state.absolute()
    user, group = (IMAGE_USER, IMAGE_USER) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    set_up(state, user, group)
    if os.geteuid() == 0:
        hand_over(state, user, group)
    print(f"{state} is ready: keys, passwords, certificates, folders and compose.env for user {user}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
