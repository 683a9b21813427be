"""Promises about money: each job is charged once or not at all, and no millisecond appears or vanishes."""

from collections.abc import Iterator, Mapping, Sequence

from faults.checker.evidence import CANCELLED, DONE, FAILED, Evidence, Violation, grouped
from faults.snapshot import Row

_TOTALS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
_ENDINGS = ("SETTLEMENT", "RELEASE")


def settled_ms(evidence: Evidence) -> Mapping[str, int]:
    """What each job was charged in all."""
    charged: dict[str, int] = {}
    for row in evidence.snapshot.table("billing.transfer"):
        if row["kind"] == "SETTLEMENT":
            charged[row["job_id"]] = charged.get(row["job_id"], 0) + row["amount_ms"]
    return charged


def settled_twice(evidence: Evidence) -> list[str]:
    """Jobs one of whose holds was ended more than once, or that were charged more than their row says."""
    transfers = evidence.snapshot.table("billing.transfer")
    ended = grouped([row for row in transfers if row["kind"] in _ENDINGS], "pending_id")
    twice = {rows[0]["job_id"] for rows in ended.values() if len(rows) > 1}
    billable = {job_id: billable_ms for job_id, _, billable_ms in evidence.endings()}
    more = {job_id for job_id, charged in settled_ms(evidence).items() if job_id in billable and charged > billable[job_id]}
    return sorted(twice | more)


def one_settlement(evidence: Evidence) -> Iterator[Violation]:
    """I-16: a job has one hold that ended once; it is charged what its row says if and only if it is done with speech."""
    transfers = evidence.snapshot.table("billing.transfer")
    holds = evidence.snapshot.by("billing.hold", "job_id")
    legs = grouped([row for row in transfers if row["kind"] == "HOLD"], "job_id")
    ended = grouped([row for row in transfers if row["kind"] in _ENDINGS], "pending_id")
    for row in evidence.snapshot.table("jobs.job"):
        if row["held_ms"] and (row["id"] not in holds or row["id"] not in legs):
            yield Violation("I-16", row["id"], "has no hold")
        if row["state"] == DONE and bool(row["speech_detected"]) != bool(row["billable_ms"]):
            yield Violation("I-16", row["id"], f"speech {row['speech_detected']}, charged {row['billable_ms']} ms")
    for job_id, rows in legs.items():
        for leg in rows:
            count = len(ended.get(leg["id"], []))
            if count != 1 and not (count == 0 and holds.get(job_id, {}).get("state") == "OPEN"):
                yield Violation("I-16", job_id, f"its hold {leg['id']} was ended {count} times")
    yield from _charged_as_said(evidence, holds)


def _charged_as_said(evidence: Evidence, holds: Mapping[str, Row]) -> Iterator[Violation]:
    charged = settled_ms(evidence)
    for job_id, state, billable_ms in evidence.endings():
        hold = holds.get(job_id)
        if state != DONE or hold is None or hold["state"] == "OPEN":
            continue
        if {charged.get(job_id, 0), hold["settled_ms"]} != {billable_ms}:
            yield Violation(
                "I-16", job_id, f"says {billable_ms} ms, was charged {charged.get(job_id, 0)}, its hold says {hold['settled_ms']}"
            )


def nothing_for_nothing(evidence: Evidence) -> Iterator[Violation]:
    """I-17: a job that failed, was cancelled or had no speech, or that never was, is charged nothing."""
    charged = settled_ms(evidence)
    without_job = {row["job_id"] for row in evidence.snapshot.table("billing.hold") if row["expire_time"] is not None}
    states = {job_id: (state, billable_ms) for job_id, state, billable_ms in evidence.endings()}
    for job_id, amount_ms in charged.items():
        state, billable_ms = states.get(job_id, (0, 0))
        if job_id not in without_job and (state in (0, FAILED, CANCELLED) or not billable_ms):
            yield Violation("I-17", job_id or "(no job)", f"charged {amount_ms} ms in state {state}")


def conserved(evidence: Evidence) -> Iterator[Violation]:
    """I-18: the sum over all accounts is zero, each equals its transfers, and no hold is open."""
    accounts = evidence.snapshot.table("billing.account")
    if imbalance_ms := ledger_sum_ms(evidence):
        yield Violation("I-18", "ledger", f"the sum over all accounts is {imbalance_ms} ms")
    totals = _recomputed(evidence.snapshot.table("billing.transfer"))
    for row in accounts:
        stored = {name: row[name] for name in _TOTALS}
        counted = totals.get(row["id"], dict.fromkeys(_TOTALS, 0))
        if stored != counted:
            yield Violation("I-18", row["id"], f"says {stored}, its transfers say {counted}")
    for hold in evidence.snapshot.table("billing.hold"):
        if hold["state"] == "OPEN" and hold["expire_time"] is None:
            yield Violation("I-18", hold["job_id"], f"its hold of {hold['amount_ms']} ms is still open")


def ledger_sum_ms(evidence: Evidence) -> int:
    """How much more was credited than debited in all, pending and posted each for itself."""
    accounts = evidence.snapshot.table("billing.account")
    pending = sum(row["credits_pending"] - row["debits_pending"] for row in accounts)
    posted = sum(row["credits_posted"] - row["debits_posted"] for row in accounts)
    return int(abs(pending) + abs(posted))


def _recomputed(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    ended = {row["pending_id"] for row in rows if row["pending_id"]}
    totals: dict[str, dict[str, int]] = {}
    for row in rows:
        if row["kind"] == "RELEASE" or (row["kind"] == "HOLD" and row["id"] in ended):
            continue
        moment = "pending" if row["kind"] == "HOLD" else "posted"
        for side, account in (("debits", row["debit_account"]), ("credits", row["credit_account"])):
            totals.setdefault(account, dict.fromkeys(_TOTALS, 0))[f"{side}_{moment}"] += row["amount_ms"]
    return totals
