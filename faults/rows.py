"""What campaigns look up in the tables while a mesh runs."""

from collections.abc import Mapping

from faults.checker.evidence import ENDED, PROCESSING, QUEUED
from faults.meshes import Stores
from faults.snapshot import Row, read_table


def jobs_at_work(stores: Stores) -> Mapping[str, Row]:
    """Jobs that a worker holds, by id."""
    return {row["id"]: row for row in read_table(stores, "jobs", "job") if row["state"] == PROCESSING}


def jobs_begun(stores: Stores) -> Mapping[str, Row]:
    """Jobs that were taken at least once and have not ended, by id."""
    rows = read_table(stores, "jobs", "job")
    return {row["id"]: row for row in rows if row["state"] not in ENDED and row["fence"]}


def jobs_handed_out(stores: Stores) -> Mapping[str, Row]:
    """Jobs that were given to the queue and that no worker has taken, by id."""
    rows = read_table(stores, "jobs", "job")
    return {row["id"]: row for row in rows if row["state"] == QUEUED and row["dispatch_time"] is not None}


def taken_over(stores: Stores, before: Mapping[str, Row]) -> Mapping[str, Row]:
    """Those of the jobs that another claim holds or ended, by id, as they are now."""
    now = {row["id"]: row for row in read_table(stores, "jobs", "job") if row["id"] in before}
    return {job_id: row for job_id, row in now.items() if row["fence"] > before[job_id]["fence"]}


def begun_or_ended(stores: Stores, job_ids: set[str]) -> Mapping[str, Row]:
    """Those of the jobs that a worker has taken, or that ended without one, by id."""
    rows = {row["id"]: row for row in read_table(stores, "jobs", "job") if row["id"] in job_ids}
    return {job_id: row for job_id, row in rows.items() if row["start_time"] is not None or row["state"] in ENDED}
