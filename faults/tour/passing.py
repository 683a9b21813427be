"""Deeds of time, of crashes and of strangers."""

import asyncio
import json
import os
import signal
import time
import uuid
from pathlib import Path
from typing import TypeVar

import nats

from faults.rows import jobs_at_work, jobs_handed_out
from faults.snapshot import read_table
from faults.tour.visitor import FOLLOW_SECONDS, Visitor
from services.mesh.streams import event_subject
from steno.inference.v1.inference_events_pb2 import TranscriptCompleted

_THREE_HOURS = 3 * 3600
_DONE = 3
T = TypeVar("T")


class Passing(Visitor):
    """What happens to a mesh without anybody asking."""

    def terminated(self) -> None:
        """A worker that is told to stop in the middle of its work."""
        self.client.submit(self.trial.sounds.longer, self.new_key())
        self.until(lambda: jobs_at_work(self.trial.world.stores))
        self.trial.world.mesh.kill("inference", signal.SIGTERM)
        self.client.pause(5.0)

    def abandoned(self) -> None:
        """A worker that dies in the middle of its work, and whose lease runs out."""
        self.client.submit(self.trial.sounds.longer, self.new_key())
        self.until(lambda: jobs_at_work(self.trial.world.stores))
        self.trial.world.mesh.kill("inference")
        self.client.pause(8.0)

    def lost_dispatch(self) -> None:
        """A queue that is wiped with a job in it."""
        mesh = self.trial.world.mesh
        mesh.kill("inference", signal.SIGSTOP)
        self.client.submit(self.trial.sounds.silence, self.new_key())
        self.until(lambda: jobs_handed_out(self.trial.world.stores))
        mesh.kill("inference")
        mesh.kill("nats", signal.SIGSTOP)
        for path in sorted((mesh.data / "events").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        mesh.kill("nats")
        self.client.pause(8.0)

    def without_jobs(self) -> None:
        """Jobs dies while orders come in and work is handed out."""
        self.client.submit(self.trial.sounds.speech, self.new_key())
        self.trial.world.mesh.kill("jobs")
        self.speech()

    def orphan_hold(self) -> None:
        """A hold whose job never came to be."""
        (self.fault_folder / "jobs.create.after_reserve").write_text("exit")
        self.silence()
        self.client.pause(FOLLOW_SECONDS)

    def orphan_media(self) -> None:
        """Media whose submit broke off hours ago."""
        (self.fault_folder / "gateway.upload.after_commit").write_text("exit")
        self.silence()
        spoken = {row["media_id"] for row in read_table(self.trial.world.stores, "jobs", "job")}
        orphans = [row for row in read_table(self.trial.world.stores, "storage", "media") if row["id"] not in spoken]
        for row in orphans:
            earlier = "interval '3 hours'" if self.is_postgres else str(_THREE_HOURS * 1_000_000)
            self.change("storage", "media", f"create_time = create_time - {earlier}", row["id"])
        # A new process looks a day back.
        self.trial.world.mesh.kill("jobs")
        self.client.pause(10.0)

    def orphan_blob(self) -> None:
        """A blob of an upload that broke off hours ago."""
        key = uuid.uuid4().hex
        blobs = self.trial.world.stores.blobs
        assert isinstance(blobs, Path), "a bucket's objects cannot be made older"
        path = blobs / "objects" / key[:2] / key
        path.write_bytes(b"left behind")
        then = time.time() - _THREE_HOURS
        os.utime(path, (then, then))
        self.client.pause(7.0)

    def gibberish(self) -> None:
        """A message on the bus that nobody can read."""

        async def publish() -> None:
            config = json.loads((self.trial.world.mesh.data / "nats.conf").read_text())
            bus = await nats.connect(f"nats://127.0.0.1:{config['port']}")
            await bus.jetstream().publish(
                event_subject("inference", TranscriptCompleted), b"\xff gibberish", headers={"Steno-Type": "none"}
            )
            await bus.close()

        asyncio.run(publish())
        self.client.pause(2.0)
