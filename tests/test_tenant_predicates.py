"""Every query on what belongs to somebody names whose it is, or stands in the list of those that have a reason not to."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SERVICES = Path(__file__).resolve().parents[1] / "services"
STORES = sorted(path for service in ("billing", "jobs", "storage") for path in (SERVICES / service / "store").glob("*.py"))
_VERBS = frozenset({"select", "select_models", "update", "delete", "exists"})
# What says whose a row is: its workspace, the tenant above a wallet, or the account and wallet ids made from it.
_TENANT = frozenset({"workspace_id", "parent_id", "tenant_id", "wallet_id", "wallet_ids", "workspace_ids", "workspaces"})

_OF_ALL = "the mesh's own work, which nobody asks for: of every workspace"
_HELD = "the row was found and held by its workspace before, in the same transaction"
_OF_JOB = "by the job's id, which only the jobs service gives; its hold names the wallet"
_OF_WORKER = "by the job's id, for the worker that holds its lease; clients read visible jobs only"
_OF_SIGNATURE = "by an id that the service itself signed, or that a service gives"
_OF_KEY = "by a ClientKey, whose first part is the workspace"
_NOBODYS = "no table of a tenant's, or no row at all"
REASONS: dict[str, dict[str, str]] = {
    "billing/accounts.py": {
        "read_clock": _NOBODYS,
        "list_plan_names": _OF_ALL,
        "find_by_digest": "the digest of a key is what tells whose it is",
        "note_uses": "by ids of keys that were found by their digests",
    },
    "billing/checkouts.py": {
        "find_checkout": "the payment provider's signed event names a purchase and no workspace",
        "end_checkout": "as find_checkout",
    },
    "billing/ledger.py": {
        "_CHANGE_ACCOUNT": "an account's id is made from its wallet's",
        "_END_HOLD": _OF_JOB,
        "_RENEW_HOLD": _OF_JOB,
        "find_hold_workspaces": "this is how the wallet of a job is found",
        "find_holds": _OF_JOB,
        "read_legs": _OF_JOB,
        "list_open_holds": _OF_ALL,
        "transfer_exists": "a transfer's id is made from its wallet's or its job's",
    },
    "billing/verification.py": {
        "list_workspaces": _OF_ALL,
        "_effects": "of the condition that it is given, and all who give one name workspaces",
        "_sums": "as _effects",
    },
    "jobs/announcements.py": {"take_announced": _OF_WORKER, "take_all_announced": _HELD},
    "jobs/detectors.py": {"list_detectors": "of _owned, which names the workspace"},
    "jobs/inference_files.py": {"read_parts": _OF_WORKER},
    "jobs/inference_orders.py": {"list_orders": "of _owned, which names the workspace"},
    "jobs/listing.py": {
        "list_jobs": "of _page, which names the workspace",
        "count_by_state": _OF_ALL,
        "list_crowded": _OF_ALL,
    },
    "jobs/jobs.py": {
        "read_now": _NOBODYS,
        "read_job": _OF_WORKER,
        "read_changed": "revisions for watchers, each of which read its job by its workspace first",
        "lock_job": _OF_WORKER,
        "touch_job": _HELD,
        "hide_job": _HELD,
    },
    "jobs/keys.py": {
        "_read_by_key": _OF_KEY,
        "free_expired_key": _OF_KEY,
        "free_expired_keys": _OF_ALL,
        "limit_key": _HELD,
        "free_keys": _HELD,
    },
    "jobs/pending.py": {
        "_fetch_due": _OF_ALL,
        "next_fetch": _OF_ALL,
        "_owners_in_hand": _OF_ALL,
        "list_late_uploads": _OF_ALL,
    },
    "jobs/queue.py": {
        "_delays": _OF_ALL,
        "count_dispatched": _OF_ALL,
        "dispatched_kinds": _OF_ALL,
        "_glance": _OF_ALL,
        "list_expired": _OF_ALL,
        "recall_dispatched": _OF_ALL,
    },
    "jobs/removals.py": {
        "spoken_for": _OF_ALL,
        "list_due": _OF_ALL,
        "postpone_removal": _OF_ALL,
        "finish_removal": _OF_ALL,
        "_nothing_left": _OF_ALL,
        "_bury": _OF_ALL,
        "read_tombstone": "an event names the job",
        "prune_tombstones": _OF_ALL,
    },
    "jobs/retention.py": {"list_expired_audio": _OF_ALL, "note_removal": _OF_ALL},
    "jobs/windows.py": {
        "put_window": _OF_WORKER,
        "list_windows": _OF_WORKER,
        "delete_windows": _OF_WORKER,
        "read_window": _OF_WORKER,
        "delete_all_windows": _HELD,
        "prune_windows": _OF_ALL,
    },
    "storage/objects.py": {
        "_find_by_id": _OF_SIGNATURE,
        "clock": _NOBODYS,
        "lock_any": "the caller compares the workspace: an id of another's is refused like one that is gone",
        "expire_uploads": _OF_ALL,
        "list_deleted": _OF_ALL,
        "list_ready_media": _OF_ALL,
        "remove": _OF_ALL,
        "known_keys": _OF_ALL,
    },
    "storage/annotations.py": {"_covered": "of the condition that it is given, which names the workspace"},
    "storage/audio.py": {"list_unfinished": _OF_ALL},
    "storage/datasets.py": {
        "lock_by_id": _OF_ALL,
        "touch_dataset": _NOBODYS,
    },
    "storage/preparations.py": {
        "claim_audio": _OF_ALL,
        "list_worn_out": _OF_ALL,
        "fail_worn_out": _HELD,
        "outdate": _OF_ALL,
    },
}


@dataclass(frozen=True)
class Query:
    """A function or constant of a store that makes statements, and whether it names a tenant in a condition."""

    file: str
    name: str
    names_tenant: bool


def queries(path: Path) -> Iterator[Query]:
    """Those of one module."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = node.name
        else:
            continue
        if any(_makes_statement(part) for part in ast.walk(node)):
            yield Query(f"{path.parent.parent.name}/{path.name}", name, any(_is_tenant_condition(part) for part in ast.walk(node)))


def _makes_statement(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    plain = isinstance(called, ast.Name) and called.id in _VERBS
    return plain or (isinstance(called, ast.Attribute) and called.attr in ("select", "update", "delete", "get"))


def _is_tenant_condition(node: ast.AST) -> bool:
    """A comparison or IN of a column, or the primary key of a wallet, with what says whose a row is."""
    if isinstance(node, ast.Compare):
        compared = [node.left, *node.comparators]
        if all(map(_is_column, compared)):
            return False  # A join of two tables.
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("in_", "get", "of"):
        compared = [node.func.value, *node.args]
    else:
        return False
    return any(_name(part) in _TENANT for side in compared for part in ast.walk(side))


def _is_column(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return _name(node.func) == "col"
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "c"


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Constant):
        return str(node.value)
    return node.id if isinstance(node, ast.Name) else ""


FOUND = [query for path in STORES for query in queries(path)]


def test_every_query_names_its_tenant_or_has_a_reason_not_to() -> None:
    open_ones = {(query.file, query.name) for query in FOUND if not query.names_tenant}
    excused = {(file, name) for file, names in REASONS.items() for name in names}
    assert sorted(open_ones - excused) == []
    assert sorted(excused - open_ones) == [], "these have no need of an excuse"


def test_the_stores_are_found_and_most_of_their_queries_name_a_tenant() -> None:
    assert len(FOUND) >= 60
    assert {query.file.partition("/")[0] for query in FOUND} == {"billing", "jobs", "storage"}


@pytest.mark.parametrize("service", ["billing", "jobs", "storage"])
def test_statements_are_made_in_stores_only(service: str) -> None:
    outside = [path for path in (SERVICES / service).rglob("*.py") if not {"store", "migrations"} & set(path.parts)]
    makers = [
        str(path.relative_to(SERVICES))
        for path in outside
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in ("sqlalchemy", "sqlmodel") and {name.name for name in node.names} & _VERBS
    ]
    assert makers == []
