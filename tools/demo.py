"""`make demo`: start the mesh, send the sample meeting through REST, print the transcript, stop."""

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import jiwer

ROOT = Path(__file__).resolve().parent.parent
# The bundled Whisper is a test model: it understands a small vocabulary, as in its own meeting.
SAMPLES = {"local": ROOT / "samples" / "meeting.flac", "triton": ROOT / "samples" / "whisper-meeting.ogg"}
READY_SECONDS = 240
JOB_SECONDS = 600


def say(text: str) -> None:
    """A line of the demo."""
    print(text, flush=True)


@contextmanager
def running_mesh(engine: str) -> Iterator[dict[str, Any]]:
    """`steno up` in a directory of its own; yields its ready document."""
    with tempfile.TemporaryDirectory(prefix="steno-demo-") as folder:
        ready_file = Path(folder) / "ready.json"
        command = [str(Path(sys.executable).parent / "steno"), "up", "--data", f"{folder}/data", "--port", "0"]
        process = subprocess.Popen([*command, "--engine", engine, "--ready-file", str(ready_file)], stdout=subprocess.DEVNULL)
        try:
            yield wait_ready(process, ready_file)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def wait_ready(process: subprocess.Popen[bytes], ready_file: Path) -> dict[str, Any]:
    """The ready document. Exits when the mesh does not start."""
    until = time.monotonic() + READY_SECONDS
    while not ready_file.exists():
        if process.poll() is not None or time.monotonic() > until:
            sys.exit("the mesh did not start; the lines above say why")
        time.sleep(0.1)
    document: dict[str, Any] = json.loads(ready_file.read_text())
    return document


def transcribe(client: httpx2.Client, sample: Path) -> dict[str, Any]:
    """Submit the sample, follow it to its end, return its transcript. Exits when the job fails."""
    with sample.open("rb") as file:
        submitted = client.post("/api/v1/transcribe", files={"file": (sample.name, file)}, data={"language": "en"})
    submitted.raise_for_status()
    job_id = submitted.json()["job_id"]
    say(f"POST /api/v1/transcribe -> {submitted.status_code}, job {job_id}")
    wait_done(client, job_id)
    result: dict[str, Any] = client.get(f"/api/v1/jobs/{job_id}/result", params={"format": "json"}).raise_for_status().json()
    return result


def wait_done(client: httpx2.Client, job_id: str) -> None:
    """Poll to the final state, printing progress."""
    shown = -1
    until = time.monotonic() + JOB_SECONDS
    while time.monotonic() < until:
        job = client.get(f"/api/v1/jobs/{job_id}").raise_for_status().json()
        percent = int(job["progress"] * 100)
        if percent >= shown + 20 or job["status"] not in ("queued", "processing"):
            say(f"  {job['status']} {percent} %")
            shown = percent
        if job["status"] == "done":
            return
        if job["status"] in ("failed", "cancelled"):
            sys.exit(f"the job ended {job['status']}: {job['error']}")
        time.sleep(0.5)
    sys.exit(f"the job took longer than {JOB_SECONDS} s")


def show(transcript: dict[str, Any]) -> None:
    """Print who said what when."""
    say("")
    for segment in transcript["segments"]:
        minutes, seconds = divmod(segment["start"], 60)
        say(f"[{int(minutes):02d}:{seconds:04.1f}] {segment['speaker']}: {segment['text']}")
    say("")


def score(transcript: dict[str, Any], reference: str) -> None:
    """Print how far the transcript is from the reference."""
    wrong = jiwer.wer(_plain(reference), _plain(transcript["text"]))
    say(f"{len(transcript['speakers'])} speakers, {wrong:.1%} of the words differ from the reference")
    say(f"recognised by {transcript['model']} in the {transcript['engine']} engine")


def say_models(mesh: dict[str, Any]) -> None:
    """Print what recognises speech, and how good that is."""
    for model in mesh["models"]:
        say(f"Model {model['name']} in the {model['engine']} engine, languages: {', '.join(model['languages'])}")
        if model["test"]:
            say("It is a test model: it shows that everything works, and is of no use for real recordings")


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9' ]", "", " ".join(text.lower().split()))


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=sorted(SAMPLES), default="local")
    engine = parser.parse_args().engine
    sample = SAMPLES[engine]
    started = time.monotonic()
    say(f"Starting the mesh (NATS{', Triton' if engine == 'triton' else ''} and five services)")
    with running_mesh(engine) as mesh:
        say(f"Ready at {mesh['url']} after {time.monotonic() - started:.1f} s")
        say_models(mesh)
        with httpx2.Client(base_url=mesh["url"], headers={"X-API-Key": mesh["api_key"]}, timeout=60, trust_env=False) as client:
            transcript = transcribe(client, sample)
        show(transcript)
        score(transcript, sample.with_suffix(".txt").read_text())
        say("Stopping")
    say(f"Done in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
