"""What the images carry is known: its licences, its vulnerabilities or that nobody could say, its bill of materials."""

import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tools import audit, licences, locks, sbom

ENVIRONMENT: dict[str, Any] = {
    "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "version": 1,
    "metadata": {"component": {"type": "application", "name": "steno", "version": "0.1.0", "bom-ref": "root-component"}},
}


def test_licences_page_is_what_the_packages_say_and_nothing_is_refused() -> None:
    policy = licences.read_policy()
    parts = [*licences.packages(policy, licences.ask_packages()), *licences.libraries(policy)]
    assert licences.refusals(parts, policy) == []
    assert licences.page(parts, policy) == licences.PAGE.read_text(), "docs/licences.md is stale: make licences"
    # What PyAV brings is more than it says of itself.
    assert {"av: libx264", "psycopg-binary: libpq", "numpy"} <= {part.name for part in parts}


@pytest.mark.parametrize(
    ("licence", "taken"),
    [
        ("MIT", True),
        ("GPL-3.0-only OR MIT", True),
        ("MIT AND PSF-2.0", True),
        ("MIT AND AGPL-3.0-only", False),
        ("(MIT)", False),
        ("", False),
        ("UNKNOWN", False),
        ("BSD License", False),
    ],
)
def test_licence_is_taken_when_all_that_it_asks_for_is_allowed(licence: str, taken: bool) -> None:
    policy = licences.read_policy()
    part = licences.Part("package", licence, ("jobs",))
    assert (licences.refusals([part], policy) == []) is taken


def test_library_that_nobody_described_is_refused() -> None:
    policy = licences.read_policy()
    described = {name: licence for name, licence in policy["libraries"].items() if name != "libx265"}
    refused = licences.refusals(list(licences.libraries({**policy, "libraries": described})), policy)
    assert refused == ["av: libx265 (storage, inference, trainer, all): no licence known"]


def test_every_accepted_licence_is_in_use() -> None:
    policy = licences.read_policy()
    page = licences.PAGE.read_text()
    assert [licence for licence in policy["accepted"] if f"| {licence} | {policy['accepted'][licence]} |" not in page] == []


def test_audit_that_was_not_answered_is_no_good_news(capsys: pytest.CaptureFixture[str]) -> None:
    clean = {"name": "anyio", "version": "4.16.0", "vulns": []}
    known = {"name": "idna", "version": "3.1", "vulns": [{"id": "PYSEC-2024-60"}]}
    skipped = {"name": "uvloop", "skip_reason": "not found"}

    def status(*rows: dict[str, Any], errors: str = "") -> int:
        return audit.report([audit.read_answer("a.lock", json.dumps({"dependencies": rows}) if not errors else "", errors)])

    assert status(clean) == 0
    assert status(clean, skipped) == audit.UNASKED
    assert status(clean, skipped, known) == audit.KNOWN
    assert status(errors="ConnectionError: no such host") == audit.UNASKED
    assert status() == audit.UNASKED
    said = capsys.readouterr().out
    assert "VULNERABLE: idna 3.1: PYSEC-2024-60" in said
    assert "NOT AUDITED: ConnectionError: no such host" in said


def test_bill_of_materials_has_the_lock_and_its_hashes() -> None:
    entries = locks.read_entries(locks.FOLDER / "jobs.lock")
    version = entries["alembic"].split("==")[1].split()[0]
    here = {"type": "library", "name": "alembic", "version": version, "bom-ref": "alembic", "licenses": [{"license": {"id": "MIT"}}]}
    absent = {"type": "library", "name": "pytest", "version": "9", "bom-ref": "pytest"}
    needs = [{"ref": "alembic", "dependsOn": ["pytest", f"pkg:pypi/mako@{entries['mako'].split('==')[1].split()[0]}"]}]
    bill = sbom.bill("jobs", {**ENVIRONMENT, "components": [here, absent], "dependencies": needs})
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    components = {found["name"]: found for found in bill["components"]}
    assert components.keys() == entries.keys()
    assert components["alembic"]["licenses"] == here["licenses"]
    assert all(digest["value"] in entries[name] for name, found in components.items() for digest in found["properties"])
    assert all(found["properties"] for found in components.values())
    dependencies = {found["ref"]: found["dependsOn"] for found in bill["dependencies"]}
    assert len(dependencies["alembic"]) == 1
    assert len(dependencies["root-component"]) == len(entries)
    assert bill["metadata"]["component"]["name"] == "steno-jobs"
