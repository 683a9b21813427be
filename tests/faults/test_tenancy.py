"""Another's thing is answered like one that is not there, at every door that the contracts and protos declare."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from faults.campaign import Options
from faults.campaigns import tenancy
from faults.doors.declared import doors
from faults.doors.remote_calls import methods
from services.gateway.contract import Contract
from services.gateway.contracts.native.errors import native_errors
from services.gateway.domain import Client
from services.gateway.operation import Answer, Body, Operation


@pytest.mark.timeout(900)
def test_no_cell_of_the_matrix_tells_anything(tmp_path: Path) -> None:
    assert [figure for figure in tenancy.run(Options(tmp_path)) if not figure.holds] == []


class Renamed(BaseModel):
    """A body with two ids."""

    action: str
    job_id: str
    claim_tokens: list[str]


class Strange(BaseModel):
    """A body with an id of something that nobody here has."""

    folder_id: str


async def nothing(request: Request, client: Client) -> Response:
    return Response()


LOOK = Operation("GET", "/things/{job_id}", "look", "Look", nothing, {200: Answer("It.")})


def contract(*operations: Operation) -> Contract:
    return Contract("new", "New", ("/new", "/newer"), operations, native_errors(""))


def test_a_new_operation_is_asked_by_itself_in_every_place_and_prefix() -> None:
    found = doors([contract(LOOK, replace(LOOK, method="POST", path="/things", body=Body(Renamed)))])
    assert [str(door) for door in found] == [
        "GET /new/things/{job_id} (path job_id)",
        "GET /newer/things/{job_id} (path job_id)",
        "POST /new/things (body job_id)",
        "POST /newer/things (body job_id)",
        "POST /new/things (body claim_tokens)",
        "POST /newer/things (body claim_tokens)",
    ]
    assert found[0].request("7") == ("/new/things/7", {})
    assert found[2].request("7") == ("/new/things", {"json": {"action": "x", "job_id": "7", "claim_tokens": []}})
    assert found[4].request("7") == ("/new/things", {"json": {"action": "x", "job_id": "x", "claim_tokens": ["7"]}})


class Label(BaseModel):
    """A body with what it must have."""

    audio_file_id: str
    end_ms: int = Field(ge=1)
    kind: str = Field(examples=["click"])


def test_ids_within_ids_are_filled_with_what_stands_around_them() -> None:
    within = replace(LOOK, method="POST", path="/datasets/{dataset_id}/audio/{audio_id}", body=Body(Label))
    by_name = {door.place.name: door for door in doors([contract(within)])}
    around = {"dataset_id": "1", "audio_id": "2", "audio_file_id": "3"}
    label = {"end_ms": 1, "kind": "click"}
    assert by_name["audio_id"].request("7", around) == ("/newer/datasets/1/audio/7", {"json": {**label, "audio_file_id": "3"}})
    assert by_name["dataset_id"].request("7", around) == ("/newer/datasets/7/audio/2", {"json": {**label, "audio_file_id": "3"}})
    assert by_name["audio_file_id"].request("7", around) == ("/newer/datasets/1/audio/2", {"json": {**label, "audio_file_id": "7"}})
    assert by_name["audio_id"].request("7")[0] == "/newer/datasets/7/audio/7"


@pytest.mark.parametrize("operation", [replace(LOOK, path="/folders/{folder_id}"), replace(LOOK, method="POST", body=Body(Strange))])
def test_an_id_of_something_new_stops_the_campaign(operation: Operation) -> None:
    with pytest.raises(AssertionError, match="folder_id"):
        doors([contract(operation)])


def test_every_server_of_the_mesh_has_methods_that_take_ids() -> None:
    found = methods()
    assert {method.server for method in found} == {"jobs", "storage", "inference", "billing"}
    assert len({str(method) for method in found}) == len(found)
