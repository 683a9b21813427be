"""The database's own rate: what one submit writes, committed by the shortest program there is."""

import asyncio
import re
import sqlite3
import time
from pathlib import Path

from sqlalchemy.engine import make_url

from services.jobs.app import MIGRATIONS, SCHEMA
from services.mesh.engines import apply_pragmas
from services.mesh.ids import new_id
from services.mesh.migrations import migrate

_STATEMENTS = (
    "INSERT INTO idempotency (workspace_id, key_id, key, fingerprint, job_id, create_time)"
    " VALUES ({workspace}, {workspace}, {id}, {hash}, {id}, {now})",
    "INSERT INTO job (id, workspace_id, owner, state, source, media_id, media_sha256, filename, audio_duration_ms, held_ms, config,"
    " progress, language, error_reason, error_message, billable_ms, truncated, engine, model, transcript_artefact_id,"
    " create_time, revision, attempt, fence, worker_id, due_time)"
    " VALUES ({id}, {workspace}, 'workspace', 1, 4, {id}, {hash}, 'clip.wav', 1000, 1000, {bytes}, 0, '', '', '', 0, false, '',"
    " '', '', {now}, 1, 0, 0, '', {now})",
    "INSERT INTO outbox (id, create_time, subject, message_type, payload, trace_parent, attempts, next_time)"
    " VALUES ({id}, {now}, 'steno.events.jobs.JobQueued', 'steno.jobs.v1.JobQueued', {bytes}, '', 0, {now})",
)
_WORKSPACE = "'0197c9a0-7d5c-7000-8000-000000000000'"
_HASH = f"'{'5e' * 32}'"
# Ordered by time, as long as a UUID.
_POSTGRES_ID = "to_hex((extract(epoch FROM clock_timestamp()) * 1000000)::bigint) || '-' || left(md5(random()::text), 22)"
_RATE = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)


async def prepare(url: str) -> None:
    """The tables of jobs in an empty database."""
    await migrate(url, schema=SCHEMA, script_location=MIGRATIONS)


async def sqlite_rate(url: str, seconds: float) -> float:
    """Submits per second of one loop in one thread, as durable as the service's."""
    return await asyncio.to_thread(_sqlite_loop, str(make_url(url).database), seconds)


def _sqlite_loop(path: str, seconds: float) -> float:
    statements = _filled(id=":id", now=str(time.time_ns() // 1000), bytes=f"x'{'0a' * 72}'")
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        apply_pragmas(connection)
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            identity = {"id": new_id()}
            connection.execute("BEGIN IMMEDIATE")
            for statement in statements:
                connection.execute(statement, identity)
            connection.execute("COMMIT")
            count += 1
        return count / (time.perf_counter() - started)
    finally:
        connection.close()


async def postgres_rate(url: str, seconds: float, clients: int, folder: Path, pgbench: Path) -> float:
    """Submits per second of pgbench with prepared statements. Raises RuntimeError when it fails."""
    script = folder / "submit.pgbench"
    filled = _filled(id=_POSTGRES_ID, now="clock_timestamp()", bytes=f"'\\x{'0a' * 72}'")
    script.write_text("\n".join(f"{statement};" for statement in ("BEGIN", *filled, "COMMIT")))
    parsed = make_url(url)
    process = await asyncio.create_subprocess_exec(
        *(str(pgbench), "-n", "-M", "prepared", "-f", str(script), "-c", str(clients), "-j", str(min(clients, 2))),
        *("-T", str(max(1, round(seconds))), "-h", str(parsed.query["host"]), "-U", str(parsed.username), str(parsed.database)),
        env={"PGOPTIONS": f"-c search_path={SCHEMA}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    rate = _RATE.search(output.decode())
    if process.returncode or rate is None:
        raise RuntimeError(f"pgbench: {errors.decode()[-500:]}")
    return float(rate[1])


def _filled(**values: str) -> list[str]:
    return [statement.format(workspace=_WORKSPACE, hash=_HASH, **values) for statement in _STATEMENTS]
