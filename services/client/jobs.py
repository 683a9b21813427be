"""`steno jobs`: what became of the recordings that were sent."""

import json
from pathlib import Path

from services.client.api import Api, Row, job_path, open_api
from services.client.display import local_time, print_fields, print_json, print_table, say
from services.client.failures import Interrupted
from services.client.following import follow
from services.client.results import check_destination, deliver
from services.client.transcription import check_done, watch

_COLUMNS = ("JOB", "STATUS", "CREATED", "LENGTH", "LANGUAGE", "FILE")


def list_jobs(limit: int, as_json: bool) -> None:
    """Print the newest jobs. Raises CommandFailed."""
    with open_api() as api:
        jobs = api.get("/jobs", limit=limit)
    if as_json:
        print_json(jobs)
    else:
        print_table(_COLUMNS, [_cells(job) for job in jobs])


def show_job(job_id: str, as_json: bool) -> None:
    """Print one job. Raises CommandFailed."""
    with open_api() as api:
        _print_job(api.get(job_path(job_id)), as_json)


def save_result(job_id: str, transcript_format: str, output: Path | None) -> None:
    """Print or save the transcript of a job. Raises CommandFailed."""
    check_destination(transcript_format, output)
    with open_api() as api:
        deliver(api, job_id, transcript_format, output)


def delete_job(job_id: str) -> None:
    """Cancel a job in flight, or remove an ended one. Raises CommandFailed."""
    with open_api() as api:
        api.delete(job_path(job_id))
    say(f"Job {job_id} is deleted.")


def watch_job(job_id: str, as_json: bool) -> None:
    """Follow a job to its end; with as_json every state is a line. Raises CommandFailed, also when the job failed."""
    with open_api() as api:
        job = _stream_states(api, job_id) if as_json else watch(api, job_id)
    if not as_json:
        _print_job(job, as_json=False)
    check_done(job)


def _stream_states(api: Api, job_id: str) -> Row:
    seen: list[str] = []

    def show(job: Row) -> None:
        line = json.dumps(job, ensure_ascii=False)
        if seen[-1:] != [line]:
            print(line, flush=True)
            seen[:] = [line]

    try:
        return follow(api, job_id, show)
    except KeyboardInterrupt as error:
        raise Interrupted(f"The job goes on without you: {job_id}") from error


def _print_job(job: Row, as_json: bool) -> None:
    if as_json:
        print_json(job)
    else:
        print_fields({name: local_time(value) if name.endswith("_at") and value else value for name, value in job.items()})


def _cells(job: Row) -> tuple[str, ...]:
    seconds = job.get("audio_duration_seconds")
    return (
        str(job.get("job_id")),
        str(job.get("status")),
        local_time(job.get("created_at")),
        "" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02d}",
        str(job.get("language") or ""),
        str(job.get("filename") or ""),
    )
