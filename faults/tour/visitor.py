"""Who does deeds, and how."""

import asyncio
import random
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import psycopg

from faults.client import Client
from faults.snapshot import read_table
from faults.trial import Trial
from services.mesh.channel import Channel, open_channel
from services.mesh.identity import Caller, CallerKind, TokenSigner, calling_as, load_key
from services.mesh.row_security import FOR_EVERY
from tests.billing.stripe_player import StripePlayer
from tests.e2e.web import Web
from tests.oidc import OidcIssuer

FOLLOW_SECONDS = 25.0
_CALL_SECONDS = 20.0
_THREE_HOURS = 3 * 3600
_DONE = 3
T = TypeVar("T")


@dataclass
class Visitor:
    """Who does deeds to a mesh. over: nothing is repeated once it is set. loop: runs in another thread, for the calls of all visitors."""

    trial: Trial
    name: str
    web: Web
    issuer: OidcIssuer
    stripe: StripePlayer
    app_key: str
    fault_folder: Path
    over: threading.Event
    loop: asyncio.AbstractEventLoop
    client: Client = field(init=False)
    number: int = 0
    labelled: tuple[str, str] | None = None
    patience: random.Random = field(default_factory=lambda: random.Random(1))

    def __post_init__(self) -> None:
        self.client = Client(self.name, self.trial.world.mesh, self.trial.recorder, self.over)

    def new_key(self) -> str:
        """An idempotency key that nobody used."""
        self.number += 1
        return f"{self.name}:{self.number}"

    def speech(self) -> str:
        """A job with words, to its end; its id."""
        job_id = self.client.submit(self.trial.sounds.speech, self.new_key()).job_id
        self.client.follow(job_id, FOLLOW_SECONDS)
        return job_id

    def silence(self) -> str:
        """A job without words, to its end; its id."""
        job_id = self.client.submit(self.trial.sounds.silence, self.new_key()).job_id
        self.client.follow(job_id, FOLLOW_SECONDS)
        return job_id

    def operate(
        self, service: str, call: Callable[[Channel], Awaitable[T]], caller_name: str = "operator", caller: Caller | None = None
    ) -> T:
        """A call of one of the mesh's own, for the first workspace unless the caller says another."""
        mesh = self.trial.world.mesh
        caller = caller or Caller(CallerKind.OPERATOR, "operator", mesh.ready["workspace_id"], "workspace")

        async def run() -> T:
            signer = TokenSigner(load_key(mesh.data / "keys" / "identity.pem"), caller_name)
            address = mesh.ready["grpc"][service]
            async with open_channel(address, audience=service, signer=signer, timeout_seconds=_CALL_SECONDS) as channel:
                with calling_as(caller):
                    return await call(channel)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result()

    def http(self, headers: dict[str, str] | None = None) -> httpx2.Client:
        mesh = self.trial.world.mesh
        client = mesh.client_for("" if headers else mesh.ready["api_key"])
        client.headers.update(headers or {})
        client.timeout = httpx2.Timeout(_CALL_SECONDS)
        return client

    def done_job(self) -> Any:
        """A job of the first workspace with words and audio; made where there is none."""

        def find() -> Any:
            rows = read_table(self.trial.world.stores, "jobs", "job")
            mine = self.trial.world.mesh.ready["workspace_id"]
            kept = [row for row in rows if row["workspace_id"] == mine and row["owner"] == "workspace" and row["delete_time"] is None]
            return next((row for row in kept if row["state"] == _DONE and row["speech_detected"]), None)

        if (row := find()) is None:
            self.speech()
            row = find()
        return row

    def until(self, ask: Callable[[], object]) -> None:
        until = time.monotonic() + FOLLOW_SECONDS
        while not ask() and time.monotonic() < until and not self.client.pause(0.05):
            continue

    @property
    def is_postgres(self) -> bool:
        return self.trial.world.stores.databases["jobs"].startswith("postgresql")

    def change(self, service: str, table: str, assignment: str, row_id: str, column: str = "id") -> None:
        """Let time pass in a row; nothing else is ever written behind a service's back. column: the one that names the row."""
        url = self.trial.world.stores.databases[service]
        if self.is_postgres:
            with psycopg.connect(url.replace("+psycopg", ""), options=FOR_EVERY) as server:
                server.execute(f"UPDATE {service}.{table} SET {assignment} WHERE {column} = '{row_id}'".encode())  # noqa: S608 (our own words)
            return
        with closing(sqlite3.connect(url.partition(":///")[2], timeout=_CALL_SECONDS)) as file, file:
            file.execute(f"UPDATE {table} SET {assignment} WHERE {column} = '{row_id}'")  # noqa: S608 (our own words)


def words(trial: Trial) -> Path:
    """A file that is no media."""
    path = trial.options.folder / "words.mp3"
    path.write_text("These are words, and no sound.\n" * 50)
    return path


def long_silence(trial: Trial, seconds: int = 70) -> Path:
    """Silence, of more than a minute unless told otherwise."""
    path = trial.options.folder / f"long-{seconds}.wav"
    if not path.exists():
        content = trial.sounds.silence.read_bytes()
        size = seconds * 32_000
        path.write_bytes(content[:4] + (size + 36).to_bytes(4, "little") + content[8:40] + size.to_bytes(4, "little") + bytes(size))
    return path
