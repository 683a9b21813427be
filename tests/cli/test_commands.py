"""`steno jobs`, `steno keys`, `steno me`: what they ask and what they print."""

import json
from collections import deque
from collections.abc import AsyncIterator, Callable

import pytest
from starlette.responses import JSONResponse, Response

from tests.cli.answers import error
from tests.cli.conftest import JOB_ID, Outcome, Server, event, job

Steno = Callable[..., Outcome]
KEY_ROW = {
    "id": "0189-key",
    "name": "laptop",
    "kind": "app",
    "key_prefix": "sk_test_ab",
    "created_at": "2026-11-21T20:04:51Z",
    "expires_at": None,
    "last_used_at": None,
}


async def _stream(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def test_list_is_one_line_a_job_for_pipes(steno: Steno, server: Server) -> None:
    server.answers["GET", "/jobs"] = JSONResponse([job("done", audio_duration_seconds=967, language="en", filename="a\tb.mp3")])
    outcome = steno("jobs", "list", "--limit", "7")
    assert outcome.out.startswith(f"{JOB_ID}\tdone\t")
    assert outcome.out.endswith("\t16:07\ten\ta b.mp3\n")
    assert server.gateway.requests[0].query_params["limit"] == "7"


def test_list_as_json_is_the_answer_of_the_server(steno: Steno, server: Server) -> None:
    rows = [job("done"), job("failed")]
    server.answers["GET", "/jobs"] = JSONResponse(rows)
    assert json.loads(steno("jobs", "list", "--json").out) == rows


def test_show_prints_every_field(steno: Steno, server: Server) -> None:
    server.gateway.rows = deque([job("processing")])
    lines = steno("jobs", "show", JOB_ID).out.splitlines()
    assert [line.split()[0] for line in lines] == list(job("processing"))


def test_id_with_slashes_stays_one_part_of_the_path(steno: Steno, server: Server) -> None:
    server.answers["GET", "/jobs/../me"] = error(400, "BAD_ID", "The id is not a UUID.")
    assert steno("jobs", "show", "../me").err == "The id is not a UUID. (BAD_ID)\n"
    assert server.gateway.requests[0].scope["raw_path"] == b"/api/v1/jobs/..%2Fme"


def test_result_is_printed_in_the_form_asked_for(steno: Steno, server: Server) -> None:
    server.gateway.result = lambda: Response("WEBVTT\n\n", media_type="text/vtt")
    assert steno("jobs", "result", JOB_ID, "--format", "vtt").out == "WEBVTT\n\n"
    assert server.gateway.requests[0].query_params["format"] == "vtt"


def test_unfinished_result_is_a_refusal(steno: Steno, server: Server) -> None:
    server.gateway.result = lambda: error(409, "NOT_READY", "The job has not ended yet.")
    assert steno("jobs", "result", JOB_ID) == Outcome(1, "", "The job has not ended yet. (NOT_READY)\n")


def test_delete_asks_the_server_to_delete(steno: Steno, server: Server) -> None:
    server.answers["DELETE", f"/jobs/{JOB_ID}"] = Response(status_code=204)
    outcome = steno("jobs", "delete", JOB_ID)
    assert (outcome.status, outcome.out) == (0, "")
    assert len(server.gateway.seen("DELETE", f"/jobs/{JOB_ID}")) == 1


def test_watch_prints_every_state_as_a_line(steno: Steno, server: Server) -> None:
    states = [job("queued"), job("processing"), job("done")]
    server.gateway.streams.append(_stream(*(event(number, row) for number, row in enumerate(states, 1))))
    outcome = steno("jobs", "watch", JOB_ID, "--json")
    assert [json.loads(line) for line in outcome.out.splitlines()] == [*states, job("done", speech_detected=True)]


def test_watch_of_a_failed_job_fails(steno: Steno, server: Server) -> None:
    server.gateway.rows = deque([job("failed", error="It broke.", error_code="WINDOW_FAILED")])
    outcome = steno("jobs", "watch", JOB_ID)
    assert outcome.status == 1
    assert "It broke. (WINDOW_FAILED)" in outcome.err


def test_new_key_goes_to_standard_output_alone(steno: Steno, server: Server) -> None:
    server.answers["POST", "/auth/api-keys"] = JSONResponse({**KEY_ROW, "key": "sk_test_secret"}, 201)
    outcome = steno("keys", "create", "--name", "laptop", "--kind", "app", "--test", "--expires-at", "2030-01-31T00:00:00Z")
    assert (outcome.status, outcome.out) == (0, "sk_test_secret\n")
    assert "sk_test_secret" not in outcome.err
    assert server.gateway.bodies == [{"name": "laptop", "kind": "app", "test": True, "expires_at": "2030-01-31T00:00:00Z"}]


def test_new_key_has_the_asked_scopes(steno: Steno, server: Server) -> None:
    server.answers["POST", "/auth/api-keys"] = JSONResponse({**KEY_ROW, "key": "sk_live_secret"}, 201)
    assert steno("keys", "create", "--name", "server", "--scope", "read", "--scope", "act_as_user").status == 0
    assert server.gateway.bodies == [{"name": "server", "kind": "workspace", "test": False, "scopes": ["read", "act_as_user"]}]
    assert steno("keys", "create", "--name", "server", "--scope", "everything").status == 2


def test_new_key_as_json_is_the_answer_of_the_server(steno: Steno, server: Server) -> None:
    server.answers["POST", "/auth/api-keys"] = JSONResponse({**KEY_ROW, "key": "sk_live_secret"}, 201)
    assert json.loads(steno("keys", "create", "--name", "laptop", "--json").out)["key"] == "sk_live_secret"
    assert server.gateway.bodies == [{"name": "laptop", "kind": "workspace", "test": False}]


def test_keys_are_listed_and_revoked(steno: Steno, server: Server) -> None:
    server.answers["GET", "/auth/api-keys"] = JSONResponse([KEY_ROW])
    server.answers["DELETE", "/auth/api-keys/0189-key"] = Response(status_code=204)
    assert steno("keys", "list").out == "0189-key\tlaptop\tapp\tsk_test_ab\t2026-11-21T20:04:51Z\t\t\n"
    assert steno("keys", "revoke", "0189-key").status == 0
    assert len(server.gateway.seen("DELETE", "/auth/api-keys/0189-key")) == 1


def test_me_is_what_the_server_sees(steno: Steno, server: Server) -> None:
    me = {"email": None, "tier": "paid", "retention_days": 365, "signed_in": True}
    server.answers["GET", "/me"] = JSONResponse(me)
    assert json.loads(steno("me", "--json").out) == me
    assert steno("me").out.splitlines()[:2] == ["email           -", "tier            paid"]


@pytest.mark.parametrize(
    "arguments", [("keys", "create"), ("keys", "create", "--name", "x", "--kind", "robot"), ("jobs", "list", "--limit", "0")]
)
def test_wrong_options_are_a_usage_error(steno: Steno, server: Server, arguments: tuple[str, ...]) -> None:
    assert steno(*arguments).status == 2
    assert not server.gateway.requests
