"""`steno secrets init`: the keys of a mesh that spans several machines or containers."""

from pathlib import Path

from services.client.failures import CommandFailed
from services.stack.data_directory import write_key_once, write_secret_once

IDENTITY_KEY = "identity.pem"
SECRETS = ("pepper", "signing-key", "claim-key")


def run_secrets_init(folder: Path) -> None:
    """Make the keys that are missing and say where they are. Raises CommandFailed."""
    there = {name for name in (IDENTITY_KEY, *SECRETS) if (folder / name).exists()}
    try:
        init_secrets(folder)
    except OSError as error:
        raise CommandFailed(f"cannot write to {folder}: {error.strerror}") from error
    for name in (IDENTITY_KEY, *SECRETS):
        print(f"{folder / name} {'was there' if name in there else 'made'}")


def init_secrets(folder: Path) -> None:
    """Make the identity key, the pepper, and the keys of URLs and claims; what is there stays. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_key_once(folder / IDENTITY_KEY)
    for name in SECRETS:
        write_secret_once(folder / name)
