"""A sample of the corpus through REST, and a job whose decoder is killed each time."""

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import psutil

from faults.campaign import Figure
from faults.corpora.media.bombs import HOUR_MS, flac_silence
from faults.corpora.media.case import Outcome, Specimen
from tests.e2e.mesh import SAMPLES, Mesh, running_mesh, wait_for

GOOD = SAMPLES / "clips" / "hello.flac"
SAMPLE = 36
ANSWER_SECONDS = 600.0
JOB_SECONDS = 600.0
POISON_DEATHS = 3
POLL_SECONDS = 0.001
MAX_GROWTH_MB = 16
MEGABYTE = 1_000_000
HELD_BY = ("gateway", "storage")
ANSWERS = {
    Outcome.EMPTY: (400, "EMPTY_FILE"),
    Outcome.UNSUPPORTED: (415, "BAD_MIME"),
    Outcome.BROKEN: (415, "BAD_MIME"),
    Outcome.TOO_LONG: (413, "DURATION_TOO_LONG"),
}


def through_mesh(folder: Path, seed: int, specimens: Sequence[Specimen]) -> list[Figure]:
    """Start a mesh, send it the sample, poison a job."""
    chosen = sample(specimens, seed)
    home = folder / "mesh"
    home.mkdir()
    with running_mesh(home, {"STENO_JOBS_RETRY_DELAY_SECONDS": "0.2"}) as mesh:
        assert finished(mesh, "warm.flac", GOOD.read_bytes())["status"] == "done"
        before = {name: (mesh.child_pid(name), resident_mb(mesh, name)) for name in (*HELD_BY, "inference")}
        strange = [what for specimen in chosen if (what := unexpected(mesh, specimen))]
        for what in strange:
            print(f"   through REST: {what}", flush=True)
        growth = max(resident_mb(mesh, name) - before[name][1] for name in HELD_BY)
        poisoned = poison(mesh)
        died = sum(mesh.child_pid(name) != pid for name, (pid, _) in before.items())
    return [
        Figure("files sent through REST", len(chosen), at_least=30),
        Figure("of them answered and ended as expected", len(chosen) - len(strange), at_least=len(chosen)),
        Figure("resident memory added to gateway or storage", growth, at_most=MAX_GROWTH_MB, unit="MB"),
        *poisoned,
        Figure("services that died", died, at_most=0),
    ]


def sample(specimens: Sequence[Specimen], seed: int) -> list[Specimen]:
    """Some of every kind; of the slow ones only what is refused at once."""
    choice, quick = random.Random(seed), [each for each in specimens if not each.slow or each.expected == (Outcome.TOO_LONG,)]
    kinds = sorted({each.kind for each in quick})
    found = [each for kind in kinds for each in some(choice, [each for each in quick if each.kind == kind], SAMPLE // len(kinds))]
    return found + some(choice, [each for each in quick if each not in found], SAMPLE - len(found))


def some(choice: random.Random, candidates: Sequence[Specimen], count: int) -> list[Specimen]:
    """At most so many of them."""
    return choice.sample(candidates, min(count, len(candidates)))


def send(mesh: Mesh, filename: str, data: bytes) -> httpx2.Response:
    """POST bytes under a name, which may be hostile too."""
    return mesh.client.post("/api/v1/transcribe", files={"file": (filename, data)}, timeout=ANSWER_SECONDS)


def finished(mesh: Mesh, filename: str, data: bytes) -> dict[str, Any]:
    """The row of the job that the bytes become, once it has ended."""
    return mesh.finished(send(mesh, filename, data).raise_for_status().json()["job_id"], JOB_SECONDS)


def unexpected(mesh: Mesh, specimen: Specimen) -> str:
    """What is wrong with what became of a file; empty when nothing is."""
    response = send(mesh, specimen.filename, specimen.path.read_bytes())
    if response.status_code != httpx2.codes.ACCEPTED:
        answers = [ANSWERS[outcome] for outcome in specimen.expected if outcome in ANSWERS]
        return (
            "" if (response.status_code, response.json()["code"]) in answers else f"{specimen.name}: {response.status_code} {response.text}"
        )
    row = mesh.finished(response.json()["job_id"], JOB_SECONDS)
    return "" if ended_well(specimen, row) else f"{specimen.name}: {row}"


def ended_well(specimen: Specimen, row: dict[str, Any]) -> bool:
    """Whether the job ended as the corpus says, with the length of what decodes."""
    if row["status"] != "done":
        return Outcome.FAILED in specimen.expected
    outcome = Outcome.TRUNCATED if row["truncated"] else Outcome.DONE
    return outcome in specimen.expected and specimen.fits(round(row["audio_duration_seconds"] * 1000))


def resident_mb(mesh: Mesh, name: str) -> float:
    """Resident memory of a service."""
    return float(psutil.Process(mesh.child_pid(name)).memory_info().rss) / MEGABYTE


def poison(mesh: Mesh) -> list[Figure]:
    """A job whose every decoder dies at once fails with a code after three, and the next job is done."""
    with killing_decoders(mesh) as deaths:
        row = finished(mesh, "poison.flac", flac_silence(HOUR_MS))
    contained = row["status"] == "failed" and row["error_code"] == "MEDIA_UNPROCESSABLE"
    if not contained:
        print(f"   the poisoned job: {row}", flush=True)
    return [
        Figure("decoders killed until the poisoned job had ended", len(deaths), at_least=POISON_DEATHS, at_most=POISON_DEATHS),
        Figure("poisoned jobs that failed as MEDIA_UNPROCESSABLE", contained, at_least=1),
        Figure("jobs done after the poisoned one", finished(mesh, "good.flac", GOOD.read_bytes())["status"] == "done", at_least=1),
    ]


@contextmanager
def killing_decoders(mesh: Mesh) -> Iterator[list[int]]:
    """Kills every child of the fork server of inference as soon as it is there."""
    deaths: list[int] = []
    left = threading.Event()
    children = children_file(mesh)

    def hunt() -> None:
        while not left.wait(POLL_SECONDS):
            for pid in set(map(int, children.read_text().split())) - set(deaths):
                with suppress(psutil.Error):
                    psutil.Process(pid).kill()
                    deaths.append(pid)

    hunter = threading.Thread(target=hunt, name="decoder killer")
    hunter.start()
    try:
        yield deaths
    finally:
        left.set()
        hunter.join()


def children_file(mesh: Mesh) -> Path:
    """Where Linux lists the children of the fork server of inference."""
    inference = psutil.Process(mesh.child_pid("inference"))

    def find() -> int | None:
        return next((child.pid for child in inference.children(recursive=True) if "services.media.forkserver" in child.cmdline()), None)

    pid = wait_for(find, 10, "the fork server")
    return Path(f"/proc/{pid}/task/{pid}/children")
