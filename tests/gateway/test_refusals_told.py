"""Whatever a service refuses, each contract tells it with its own status, code and shape, through the door."""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import httpx2
import pytest

from services.gateway.refusals import INTERNAL_REASONS, Answer
from services.mesh.errors import FailedPrecondition, MeshError
from steno.errors.v1.error_reason_pb2 import ErrorReason
from tests.gateway.conftest import Running
from tests.gateway.native import AUDIO

pytestmark = pytest.mark.asyncio(loop_scope="session")
SUBMITS = {
    "native": ("/api/v1/transcribe", {}),
    "icana": ("/icana/api/v1/transcribe", {}),
    "actionvibe": ("/api/transcriptions", {}),
    "openai": ("/v1/audio/transcriptions", {"model": "whisper-1"}),
}
# Icana has no codes.
CODE_OF: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "native": lambda body: body["code"],
    "icana": lambda body: {"detail"}.symmetric_difference(body) or None,
    "actionvibe": lambda body: body["code"],
    "openai": lambda body: body["error"]["code"],
}
WRITTEN_FOR_CLIENTS = {"INVALID_FIELD", "INVALID_URL", "MEDIA_TOO_LONG"}
REASONS = sorted({name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()} - {"UNSPECIFIED"})  # noqa: SIM118 - an enum, not a dict


def refusal(reason: str) -> MeshError:
    """A service's refusal for that reason."""
    name = "".join(word.capitalize() for word in reason.split("_"))
    made: type[MeshError] = type(name, (FailedPrecondition,), {"__doc__": "Refused at /etc/secret by 10.0.0.1."})
    assert made.reason() == reason
    return made()


@pytest.mark.parametrize("contract", SUBMITS)
async def test_every_reason_of_the_mesh_is_told_with_status_and_code(contract: str, gateway: Running) -> None:
    answers: dict[str, Answer] = import_module(f"services.gateway.contracts.{contract}.errors").ANSWERS
    path, fields = SUBMITS[contract]
    headers = {"x-api-key": gateway.world.new_key()}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, timeout=20, verify=False) as client:
        for reason in REASONS:
            gateway.world.create_failures.append(refusal(reason))
            told = await client.post(path, files={"file": ("talk.wav", AUDIO)}, data=fields)
            expected = answers.get(reason)
            if expected is None:
                assert reason in INTERNAL_REASONS
                assert told.status_code in (500, 502), (reason, told.text)
            else:
                assert told.status_code == expected.status, (reason, told.text)
                assert CODE_OF[contract](told.json()) in (expected.code, None), reason
            assert reason in WRITTEN_FOR_CLIENTS or not re.search(r"secret|10\.0\.0\.1", told.text), reason
            assert told.headers["x-request-id"]
            assert ("retry-after" in told.headers) >= (told.status_code in (429, 503)), reason
    assert gateway.world.create_failures == []
