"""What `steno backup`, `steno backup verify` and `steno restore` are asked with."""

from pathlib import Path
from typing import Annotated

import typer

from services.client.failures import CommandFailed

DataOption = Annotated[Path, typer.Option("--data", help="Folder for everything that is kept.", file_okay=False)]
BackupArgument = Annotated[Path, typer.Argument(metavar="BACKUP", help="Folder or archive of a backup.", exists=True)]


def back_up(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="Folder to make, or an archive where its name ends with .tar.")] = None,
    with_keys: Annotated[bool, typer.Option("--with-keys", help="Also the secrets: whoever has the backup then has everything.")] = False,
    data: DataOption = Path(".steno"),
) -> None:
    """Write down everything that is kept, of one instant, while the mesh runs."""
    if context.invoked_subcommand is not None:
        return
    if out is None:
        raise CommandFailed("Say where to: steno backup --out FOLDER")
    from services.stack.backup.commands import run_backup

    run_backup(data.absolute(), out.absolute(), with_keys=with_keys)


def verify_backup(
    backup: BackupArgument,
    bucket: Annotated[bool, typer.Option("--bucket", help="Also whether storage's bucket has every blob.")] = False,
    data: DataOption = Path(".steno"),
) -> None:
    """Check every file of a backup."""
    from services.stack.backup.commands import run_verify

    run_verify(data.absolute(), backup.absolute(), bucket=bucket)


def restore(
    backup: BackupArgument,
    force: Annotated[bool, typer.Option("--force", help="Put aside what is there; schemas of Postgres are dropped.")] = False,
    data: DataOption = Path(".steno"),
) -> None:
    """Put a backup in place of what is kept, while nothing runs."""
    from services.stack.backup.commands import run_restore

    run_restore(data.absolute(), backup.absolute(), force=force)
