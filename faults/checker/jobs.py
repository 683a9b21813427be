"""Promises about jobs: none is lost, none appears, each ends once and says so."""

from collections.abc import Iterator

from faults.checker.evidence import CANCELLED, DONE, ENDED, FAILED, Evidence, Violation, grouped
from faults.history import Call
from faults.snapshot import Row

_ENDED_STATUSES = frozenset({"done", "failed", "cancelled"})
_STATUS_OF = {1: "queued", 2: "processing", DONE: "done", FAILED: "failed", CANCELLED: "cancelled"}
_OK, _NO_CONTENT = 200, 204
_OWNER = "workspace"
_TRANSCRIPTION = 0


def accepted_is_kept(evidence: Evidence) -> Iterator[Violation]:
    """I-1: an accepted job is there, and its owner can read it until it is deleted."""
    known = {job_id for job_id, _, _ in evidence.endings()}
    deleted = evidence.history.deleted()
    for key, job_ids in evidence.history.accepted().items():
        for job_id in job_ids:
            if job_id not in known:
                yield Violation("I-1", job_id, f"accepted for {key}, and no row or tombstone of it exists")
            elif job_id not in deleted and (answer := evidence.answers.get(job_id)) is not None and answer.status != _OK:
                yield Violation("I-1", job_id, f"accepted for {key}, and its owner is answered {answer.status}")


def nothing_unasked(evidence: Evidence) -> Iterator[Violation]:
    """I-2: every job was asked for, and a refused request made none."""
    asked, accepted = evidence.history.keys(), evidence.history.accepted()
    promised = {job_id for job_ids in accepted.values() for job_id in job_ids}
    keys = {row["job_id"]: row["key"] for row in evidence.snapshot.table("jobs.idempotency")}
    for row in evidence.snapshot.table("jobs.job"):
        spoken_of = row["workspace_id"] == evidence.workspace_id and row["owner"] == _OWNER and row["kind"] == _TRANSCRIPTION
        if spoken_of and keys.get(row["id"]) not in asked and row["id"] not in promised:
            yield Violation("I-2", row["id"], f"a job that nobody asked for, of key {keys.get(row['id'])}")
    refused = {call.key for call in evidence.history.of_kind("submit", "refused_submit") if call.is_refused} - accepted.keys()
    for job_id, key in keys.items():
        if key in refused:
            yield Violation("I-2", job_id, f"{key} was refused, and made a job")


def all_ended(evidence: Evidence) -> Iterator[Violation]:
    """I-3: once faults have stopped for as long as the campaign waits, every job has ended."""
    for row in evidence.snapshot.table("jobs.job"):
        if row["state"] not in ENDED:
            detail = f"attempt {row['attempt']}, fence {row['fence']}, lease until {row['lease_until']}, waiting {row['waiting']}"
            yield Violation("I-3", row["id"], f"still {_STATUS_OF.get(row['state'])} ({detail})")


def states_are_legal(evidence: Evidence) -> Iterator[Violation]:
    """I-4: rows make sense, and nobody saw a job leave its end or its progress fall."""
    for row in evidence.snapshot.table("jobs.job"):
        yield from (Violation("I-4", row["id"], fault) for fault in _faults_of(row))
    reads = [call for call in evidence.history.of_kind("read") if call.status == _OK and "status" in call.body]
    for job_id, calls in _by_job(reads).items():
        yield from _went_back(job_id, calls)


def _faults_of(row: Row) -> Iterator[str]:
    ended, started, created = row["complete_time"], row["start_time"], row["create_time"]
    if row["state"] not in _STATUS_OF:
        yield f"state {row['state']} does not exist"
    if (row["state"] in ENDED) != (ended is not None):
        yield f"{_STATUS_OF.get(row['state'])} with complete_time {ended}"
    if row["state"] == DONE and started is None:
        yield "done and never started"
    times = [time for time in (created, started, ended) if time is not None]
    if times != sorted(times):
        yield f"created {created}, started {started}, completed {ended}"
    if (row["state"] == FAILED) != bool(row["error_reason"]):
        yield f"{_STATUS_OF.get(row['state'])} with the reason {row['error_reason']!r}"


def _by_job(calls: list[Call]) -> dict[str, list[Call]]:
    found: dict[str, list[Call]] = {}
    for call in calls:
        found.setdefault(call.job_id, []).append(call)
    return found


def _went_back(job_id: str, calls: list[Call]) -> Iterator[Violation]:
    """A read that began after another had been answered shows nothing older."""
    for later in calls:
        earlier = [call for call in calls if call.ended < later.began]
        ended = {call.body["status"] for call in earlier} & _ENDED_STATUSES
        if ended - {later.body["status"]}:
            yield Violation("I-4", job_id, f"was {ended}, then {later.body['status']}")
        if max((call.body.get("progress", 0) for call in earlier), default=0) > later.body.get("progress", 0):
            yield Violation("I-4", job_id, f"its progress fell to {later.body.get('progress')}")


def one_result(evidence: Evidence) -> Iterator[Violation]:
    """I-5: a job that is done with speech has one transcript, and all who read it read the same."""
    artefacts = evidence.snapshot.by("storage.artefact", "id")
    seen = _by_job([call for call in evidence.history.of_kind("result") if call.status == _OK])
    for row in evidence.snapshot.table("jobs.job"):
        if row["state"] != DONE or row["delete_time"] is not None or row["kind"] != _TRANSCRIPTION:
            continue
        artefact = artefacts.get(row["transcript_artefact_id"])
        if row["transcript_artefact_id"] and (artefact is None or artefact["state"] != "ready"):
            yield Violation("I-5", row["id"], f"done, and its transcript {row['transcript_artefact_id']} is not in storage")
        answer = evidence.answers.get(row["id"])
        digests = {str(call.body.get("sha256")) for call in seen.get(row["id"], [])}
        digests |= {answer.result_sha256} if answer is not None and answer.result_sha256 else set()
        if len(digests) > 1:
            yield Violation("I-5", row["id"], f"{len(digests)} different transcripts were read")


def cancelled_stays(evidence: Evidence) -> Iterator[Violation]:
    """I-6: a job whose cancelling was answered is never done afterwards, and shows no transcript."""
    for row in evidence.snapshot.table("jobs.job"):
        answer = evidence.answers.get(row["id"])
        if row["state"] == CANCELLED and (row["transcript_artefact_id"] or (answer is not None and answer.result_status == _OK)):
            yield Violation("I-6", row["id"], "cancelled, and its transcript can be read")
    reads = _by_job([call for call in evidence.history.of_kind("read") if call.status == _OK])
    for deleted in evidence.history.of_kind("delete"):
        if deleted.status != _NO_CONTENT:
            continue
        for call in reads.get(deleted.job_id, []):
            if call.began > deleted.ended and call.body.get("status") != "cancelled":
                yield Violation("I-6", deleted.job_id, f"its deletion was confirmed, and it was {call.body.get('status')} afterwards")


def one_job_per_key(evidence: Evidence) -> Iterator[Violation]:
    """I-9: a key stands for one job, in every answer and in the tables."""
    rows = grouped(evidence.snapshot.table("jobs.idempotency"), "key")
    for key, job_ids in evidence.history.accepted().items():
        kept = {row["job_id"] for row in rows.get(key, [])}
        if len(job_ids | kept) > 1:
            yield Violation("I-9", key, f"stands for {sorted(job_ids | kept)}")


def events_are_sent(evidence: Evidence) -> Iterator[Violation]:
    """I-13: every committed event was published."""
    for service in ("jobs", "billing", "storage"):
        for row in evidence.snapshot.table(f"{service}.outbox"):
            if row["sent_time"] is None:
                yield Violation("I-13", row["id"], f"{row['message_type']} of {service} was never published, after {row['attempts']} tries")
