"""Promises about bytes: what a row says is stored is there, whole, and nothing else is."""

from collections.abc import Iterator

from faults.checker.evidence import DONE, Evidence, Violation
from faults.snapshot import Row

_OBJECTS = ("storage.media", "storage.artefact")


def rows_and_blobs_agree(evidence: Evidence) -> Iterator[Violation]:
    """I-24: every ready row has its blob, of that size and digest; every blob past its sweep has a row; no job points at nothing."""
    for table in _OBJECTS:
        for row in evidence.snapshot.table(table):
            yield from _missing_or_other(evidence, table, row)
    for key in unspoken_blobs(evidence):
        if evidence.snapshot.blobs[key].modify_time < evidence.swept_before:
            yield Violation("I-24", key, "a blob that no row speaks of")
    media = evidence.snapshot.by("storage.media", "id")
    for row in evidence.snapshot.table("jobs.job"):
        kept = row["state"] == DONE and row["delete_time"] is None and row["removal_time"] is not None
        if kept and media.get(row["media_id"], {}).get("state") != "ready":
            yield Violation("I-24", row["id"], f"its audio {row['media_id']} is gone before its time")


def unspoken_blobs(evidence: Evidence) -> list[str]:
    """Blobs without a row, of whatever age: uploads that broke off between the blob and its row, until the sweep comes by."""
    spoken = {row["object_key"] for table in _OBJECTS for row in evidence.snapshot.table(table)}
    return sorted(evidence.snapshot.blobs.keys() - spoken)


def unspoken_transcripts(evidence: Evidence) -> list[str]:
    """Artefacts that are ready and that no job points at, of whatever age."""
    pointed = {row["transcript_artefact_id"] for row in evidence.snapshot.table("jobs.job")}
    return sorted(row["id"] for row in evidence.snapshot.table("storage.artefact") if row["state"] == "ready" and row["id"] not in pointed)


def _missing_or_other(evidence: Evidence, table: str, row: Row) -> Iterator[Violation]:
    if row["state"] != "ready":
        return
    blob = evidence.snapshot.blobs.get(row["object_key"])
    if blob is None:
        yield Violation("I-24", row["id"], f"{table} is ready, and its blob {row['object_key']} is missing")
    elif (blob.size_bytes, blob.sha256) != (row["size_bytes"], row["sha256"]):
        yield Violation("I-24", row["id"], f"{table} says {row['size_bytes']} bytes {row['sha256'][:12]}, the blob has {blob.size_bytes}")
