"""All promises at once."""

from collections.abc import Mapping, Sequence

from faults.checker import jobs, money, stored
from faults.checker.evidence import Check, Evidence, Violation

CHECKS: Mapping[str, Check] = {
    "I-1": jobs.accepted_is_kept,
    "I-2": jobs.nothing_unasked,
    "I-3": jobs.all_ended,
    "I-4": jobs.states_are_legal,
    "I-5": jobs.one_result,
    "I-6": jobs.cancelled_stays,
    "I-9": jobs.one_job_per_key,
    "I-13": jobs.events_are_sent,
    "I-16": money.one_settlement,
    "I-17": money.nothing_for_nothing,
    "I-18": money.conserved,
    "I-24": stored.rows_and_blobs_agree,
}


def judge(evidence: Evidence) -> Sequence[Violation]:
    """Every promise that was broken, with for whom."""
    return [violation for check in CHECKS.values() for violation in check(evidence)]
