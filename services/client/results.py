"""Bringing a transcript out: to standard output, or to a file that appears only when it is whole."""

import os
import sys
from pathlib import Path
from typing import BinaryIO

import httpx2

from services.client.api import Api, job_path
from services.client.failures import CommandFailed, WrongUsage

FORMATS = ("txt", "json", "srt", "vtt", "docx")


def check_destination(transcript_format: str, output: Path | None) -> None:
    """Refuse early what cannot be delivered later. Raises WrongUsage or CommandFailed."""
    if output is None:
        if transcript_format == "docx" and sys.stdout.isatty():
            raise WrongUsage("a docx file would garble this terminal: name a file with --output, or redirect the output.")
        return
    folder = output.parent
    if output.is_dir():
        raise CommandFailed(f"cannot write {output}: it is a folder")
    if not folder.is_dir():
        raise CommandFailed(f"cannot write {output}: there is no folder {folder}")
    if not os.access(output if output.exists() else folder, os.W_OK):
        raise CommandFailed(f"cannot write {output}: permission denied")


def deliver(api: Api, job_id: str, transcript_format: str, output: Path | None) -> None:
    """Write the transcript of a job that is done. Raises CommandFailed."""
    with api.stream("GET", f"{job_path(job_id)}/result", params={"format": transcript_format}) as response:
        if output is None:
            _print(response, transcript_format)
        else:
            _save(response, output)


def _print(response: httpx2.Response, transcript_format: str) -> None:
    last = _copy(response, sys.stdout.buffer)
    if last not in (b"", b"\n") and transcript_format != "docx":
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def _save(response: httpx2.Response, output: Path) -> None:
    if output.exists() and not output.is_file():
        with output.open("wb") as device:
            _copy(response, device)
        return
    partial = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with partial.open("xb") as file:
            _copy(response, file)
        partial.replace(output)
    except OSError as error:
        raise CommandFailed(f"cannot write {output}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _copy(response: httpx2.Response, target: BinaryIO) -> bytes:
    """Copy the body; returns its last byte."""
    last = b""
    for chunk in response.iter_bytes():
        target.write(chunk)
        last = chunk[-1:] or last
    return last
