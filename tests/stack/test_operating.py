"""`steno plans` and `steno credit` against a billing that runs."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.client.failures import CommandFailed
from services.mesh.ids import new_id
from services.stack.operating import Access
from services.stack.workspaces import run_add_key, run_create_workspace
from steno.billing.v1.accounts_service_pb2 import AuthenticateRequest
from tests.billing.service import running

ROOT = Path(__file__).parents[2]


def _steno(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos'}"}
    command = [sys.executable, "-P", "-m", "services.cli", *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


async def test_the_operator_moves_plans_and_adds_credit_from_the_command_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "keys").mkdir(parents=True)
    async with running(tmp_path) as service:
        workspace_id = await service.new_workspace()
        (data / "addresses.json").write_text(json.dumps({"billing": f"127.0.0.1:{service.settings.port}"}))
        (tmp_path / "identity.pem").rename(data / "keys" / "identity.pem")

        assigned = await _in_thread(tmp_path, "plans", "assign", workspace_id, "priced", "--data", "data")
        assert (assigned.returncode, assigned.stdout) == (0, f"{workspace_id} is on the plan priced.\n")
        for _ in range(2):
            granted = await _in_thread(tmp_path, "credit", "grant", workspace_id, "30", "--reference", "invoice-7", "--data", "data")
            assert (granted.returncode, granted.stdout) == (0, f"{workspace_id} has 230.00 minutes.\n")
        assert await service.balance(workspace_id) == (230, 0, 0)

        nobody = await _in_thread(tmp_path, "plans", "assign", workspace_id, "priced", "--email", "ann@example.com", "--data", "data")
        assert (nobody.returncode, nobody.stderr) == (1, "No user of this workspace has this e-mail address. (USER_NOT_FOUND)\n")
        unknown = await _in_thread(tmp_path, "credit", "grant", new_id(), "1", "--reference", "r", "--data", "data")
        assert "WORKSPACE_NOT_FOUND" in unknown.stderr


async def test_the_operator_makes_workspaces_whose_keys_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path) as service:
        monkeypatch.setenv("STENO_OPERATOR_BILLING_ADDRESS", f"127.0.0.1:{service.settings.port}")
        monkeypatch.setenv("STENO_OPERATOR_IDENTITY_KEY_FILE", str(tmp_path / "identity.pem"))
        access = Access(tmp_path / "nothing")
        await asyncio.to_thread(run_create_workspace, access, "Choir", "priced", "first", as_json=True)
        # Behind what the service logs.
        made = json.loads("{" + capsys.readouterr().out.partition("{")[2])
        await asyncio.to_thread(run_add_key, access, made["workspace_id"], "second", as_json=False)
        second = capsys.readouterr().out.split()[-1]

        for secret in (made["api_key"], second):
            found = await service.operator.Authenticate(AuthenticateRequest(api_key=secret))
            assert (found.workspace.id, found.workspace.name, found.workspace.plan) == (made["workspace_id"], "Choir", "priced")
        with pytest.raises(CommandFailed, match="WORKSPACE_NOT_FOUND"):
            await asyncio.to_thread(run_add_key, access, new_id(), "third", as_json=False)


async def _in_thread(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(_steno, folder, *arguments)


def test_without_a_mesh_the_command_says_where_it_looked(tmp_path: Path) -> None:
    outcome = _steno(tmp_path, "credit", "grant", new_id(), "1", "--reference", "r", "--data", "nothing")
    assert outcome.returncode == 1
    assert "no `steno up` runs on nothing" in outcome.stderr
