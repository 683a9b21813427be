"""A large upload flows through: no service's memory grows with it."""

import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.e2e.conftest import stored_files
from tests.e2e.mesh import SAMPLES, Mesh, wait_for

SIZE = 512 * 1024 * 1024
LIMIT = 64 * 1024 * 1024
RATE_HZ, CHANNELS, BYTES_PER_SAMPLE = 192_000, 8, 2
SERVICES = ("gateway", "storage", "jobs", "billing")


def write_noise(path: Path, size: int) -> None:
    """A WAV file of noise: 8 channels at 192 kHz, so that it is large and short."""
    frame = CHANNELS * BYTES_PER_SAMPLE
    data_size = size - 44
    with path.open("wb") as file:
        file.write(b"RIFF" + struct.pack("<I", size - 8) + b"WAVEfmt ")
        file.write(struct.pack("<IHHIIHH", 16, 1, CHANNELS, RATE_HZ, RATE_HZ * frame, frame, 8 * BYTES_PER_SAMPLE))
        file.write(b"data" + struct.pack("<I", data_size))
        noise = os.urandom(1024 * 1024)
        while (left := size - file.tell()) > 0:
            file.write(noise[:left])


def own_bytes(pid: int) -> int:
    """Memory that a service and its children share with nobody."""
    total = 0
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        try:
            total += process.memory_full_info().uss
        except psutil.Error:
            continue
    return total


@contextmanager
def highest_memory(mesh: Mesh) -> Iterator[dict[str, int]]:
    """Within, each service's memory is sampled; yields the highest by service."""
    over, highest = threading.Event(), dict.fromkeys(SERVICES, 0)

    def sample() -> None:
        while not over.wait(0.05):
            for name in SERVICES:
                pid = mesh.child_pid(name)
                if pid is not None:
                    highest[name] = max(highest[name], own_bytes(pid))

    thread = threading.Thread(target=sample, name="memory")
    thread.start()
    try:
        yield highest
    finally:
        over.set()
        thread.join()


def test_512_mb_upload_raises_no_services_memory_by_more_than_64_mb(embedded: Mesh, tmp_path: Path) -> None:
    embedded.finished(embedded.submitted(SAMPLES / "clips" / "silence.flac"))
    path = tmp_path / "large.wav"
    write_noise(path, SIZE)
    before_files = stored_files(embedded)
    with highest_memory(embedded) as before:
        wait_for(lambda: all(before.values()), 20, "memory to be sampled")
    with highest_memory(embedded) as during:
        job_id = embedded.submitted(path)
    assert len(stored_files(embedded) - before_files) >= 1, "the upload is not where it is looked for"
    assert embedded.client.delete(f"/api/v1/jobs/{job_id}").status_code == 204
    growth = {name: (during[name] - before[name]) // 2**20 for name in SERVICES}
    assert max(growth.values()) <= LIMIT // 2**20, growth
    embedded.finished(job_id)
    embedded.client.delete(f"/api/v1/jobs/{job_id}")
    wait_for(lambda: stored_files(embedded) <= before_files, 60, "the upload to be removed from disk")
