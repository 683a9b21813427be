"""Relay's refusals at every address: ids, keys, scopes, guests, other workspaces, and whatever a service refuses."""

import re
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest

from services.gateway.contracts.native import errors as native_errors
from services.gateway.contracts.relay.errors import ANSWERS
from services.gateway.refusals import INTERNAL_REASONS
from services.mesh.errors import FailedPrecondition, InvalidField, MeshError, NotFound
from steno.billing.v1.api_key_pb2 import ApiKey
from steno.billing.v1.workspace_pb2 import RateClass
from steno.errors.v1.error_reason_pb2 import ErrorReason
from tests.gateway.conftest import Running
from tests.gateway.relay import BOTH, FILE, ROOT, UNKNOWN, assert_detail, assert_fields, label, made, new_dataset, new_draft

pytestmark = pytest.mark.asyncio(loop_scope="session")
DATASET, SET = "/datasets/{dataset_id}", "/datasets/{dataset_id}/annotation-sets/{annotation_set_id}"
TRAINING = {"dataset_id": UNKNOWN, "annotation_set_id": UNKNOWN, "config": {"artifact_types": ["click"]}}
# Method, path, body: every operation that has no open permission.
OPERATIONS: Sequence[tuple[str, str, Any]] = [
    ("GET", "/datasets", None),
    ("POST", "/datasets", {"name": "talks"}),
    ("GET", DATASET, None),
    ("PATCH", DATASET, {"name": "talks"}),
    ("DELETE", DATASET, None),
    ("POST", f"{DATASET}/audio/upload-url", FILE),
    ("POST", f"{DATASET}/audio/confirm", {"audio_id": UNKNOWN}),
    ("POST", f"{DATASET}/audio/from-job", {"job_id": UNKNOWN}),
    ("GET", f"{DATASET}/audio", None),
    ("GET", f"{DATASET}/audio/{{audio_id}}", None),
    ("DELETE", f"{DATASET}/audio/{{audio_id}}", None),
    ("GET", f"{DATASET}/audio/{{audio_id}}/download-url", None),
    ("POST", f"{DATASET}/annotation-sets", None),
    ("GET", f"{DATASET}/annotation-sets", None),
    ("GET", SET, None),
    ("POST", f"{SET}/publish", None),
    ("DELETE", SET, None),
    ("POST", f"{SET}/annotations", label(UNKNOWN)),
    ("POST", f"{SET}/annotations/bulk", {"annotations": [label(UNKNOWN)]}),
    ("PATCH", f"{SET}/annotations/{{annotation_id}}", {"confidence": 0.5}),
    ("DELETE", f"{SET}/annotations/{{annotation_id}}", None),
    ("POST", "/training-jobs", TRAINING),
    ("GET", "/training-jobs", None),
    ("GET", "/training-jobs/{training_job_id}", None),
    ("POST", "/training-jobs/{training_job_id}/cancel", None),
    ("GET", "/models", None),
    ("GET", "/models/{model_id}", None),
    ("PATCH", "/models/{model_id}", {"name": "clicks"}),
    ("DELETE", "/models/{model_id}", None),
    ("POST", "/inference-jobs", {"model_id": UNKNOWN}),
    ("GET", "/inference-jobs", None),
    ("GET", "/inference-jobs/{inference_job_id}", None),
    ("POST", "/inference-jobs/{inference_job_id}/cancel", None),
    ("POST", "/inference-jobs/{inference_job_id}/files/upload-url", FILE),
    ("POST", "/inference-jobs/{inference_job_id}/files/confirm", {"file_id": UNKNOWN}),
    ("GET", "/inference-jobs/{inference_job_id}/files/{file_id}", None),
    ("GET", "/inference-jobs/{inference_job_id}/files/{file_id}/download-url", None),
]
OF_ONE = [operation for operation in OPERATIONS if "{" in operation[1]]
WITH_BODY = [operation for operation in OPERATIONS if operation[2] is not None]
REASONS = sorted({name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()} - {"UNSPECIFIED"})  # noqa: SIM118 - an enum, not a dict


async def ask(client: httpx2.AsyncClient, root: str, method: str, path: str, body: Any, value: str = UNKNOWN) -> httpx2.Response:
    """An operation with that value for each of its ids."""
    address = root + re.sub(r"\{\w+\}", value, path)
    return await client.request(method, address, **({} if body is None else {"json": body}))


def refusal(reason: str) -> MeshError:
    """A service's refusal for that reason."""
    name = "".join(word.capitalize() for word in reason.split("_"))
    made: type[MeshError] = type(name, (FailedPrecondition,), {"__doc__": "Refused at /etc/secret by 10.0.0.1."})
    assert made.reason() == reason
    return made()


async def test_the_documents_list_exactly_these_operations_at_both_prefixes(client: httpx2.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    for root, name in (("/relay/api/v1", "relay"), ("/api/v1", "detection")):
        documented = {
            (method.upper(), path.removeprefix(root))
            for path, item in paths.items()
            for method, node in item.items()
            if node["tags"] == [name] and node["security"] and "/auth/" not in path
        }
        assert documented == {(method, path) for method, path, _ in OPERATIONS}


@pytest.mark.parametrize(("method", "path", "body"), OPERATIONS)
async def test_missing_or_unknown_key_is_401(gateway: Running, method: str, path: str, body: Any) -> None:
    for headers in ({}, {"x-api-key": "sk_test_unknown"}):
        async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, verify=False) as stranger:
            for root in BOTH:
                assert_detail(await ask(stranger, root, method, path, body), 401)


@pytest.mark.parametrize(("method", "path", "body"), OPERATIONS)
async def test_anonymous_guest_is_403(gateway: Running, method: str, path: str, body: Any) -> None:
    headers = {"x-api-key": gateway.world.new_key(ApiKey.KIND_APP)}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, verify=False) as guest:
        for root in BOTH:
            assert_detail(await ask(guest, root, method, path, body), 403)


@pytest.mark.parametrize(("method", "path", "body"), OPERATIONS)
async def test_key_that_may_only_read_is_403_for_the_rest(gateway: Running, method: str, path: str, body: Any) -> None:
    headers = {"x-api-key": gateway.world.new_key(scopes=["read"])}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, verify=False) as reader:
        for root in BOTH:
            answer = await ask(reader, root, method, path, body)
            assert (answer.status_code == 403) == (method != "GET"), answer.text


@pytest.mark.parametrize("root", BOTH)
@pytest.mark.parametrize(("method", "path", "body"), OF_ONE)
async def test_id_that_is_no_uuid_is_422_and_unknown_404(client: httpx2.AsyncClient, root: str, method: str, path: str, body: Any) -> None:
    for value in ("1", UNKNOWN[:-1], UNKNOWN + "0", "%00"):
        assert_fields(await ask(client, root, method, path, body, value), ["path", "id"])
    assert_detail(await ask(client, root, method, path, body), 404)


@pytest.mark.parametrize("root", BOTH)
@pytest.mark.parametrize(("method", "path", "body"), WITH_BODY)
async def test_body_that_is_no_json_object_is_400(client: httpx2.AsyncClient, root: str, method: str, path: str, body: Any) -> None:
    address = root + re.sub(r"\{\w+\}", UNKNOWN, path)
    json_type = {"content-type": "application/json"}
    for content in (b"{", b"[]", b'"a"', b"\xff", b'{"a": NaN}', b"[" * 40):
        assert_detail(await client.request(method, address, content=content, headers=json_type), 400)
    assert_detail(await client.request(method, address, content=b"a=b"), 400)


async def test_wallet_of_a_guest_may_do_everything_that_a_user_may(gateway: Running) -> None:
    secret = gateway.world.new_key(ApiKey.KIND_APP)
    headers = {"x-api-key": secret, "x-guest-token": gateway.world.new_wallet(secret)}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, verify=False) as guest:
        dataset = await new_dataset(guest, "/api/v1")
        assert (await guest.get(f"/api/v1/datasets/{dataset['id']}")).status_code == 200
    async with httpx2.AsyncClient(base_url=gateway.url, headers={"x-api-key": secret}, verify=False) as other:
        assert_detail(await other.get(f"/api/v1/datasets/{dataset['id']}"), 403)


@pytest.mark.parametrize("root", BOTH)
async def test_other_workspaces_see_404_and_empty_lists(gateway: Running, client: httpx2.AsyncClient, root: str) -> None:
    path, audio_id = await new_draft(client, root)
    annotation = await made(client, f"{path}/annotations", label(audio_id))
    model_id = gateway.world.new_detector(client.headers["x-api-key"]).id
    training = await made(client, f"{root}/training-jobs", TRAINING)
    order = await made(client, f"{root}/inference-jobs", {"model_id": model_id})
    dataset = path.rpartition("/annotation-sets")[0]
    owned = [dataset, f"{dataset}/audio", f"{dataset}/audio/{audio_id}", f"{dataset}/annotation-sets", path]
    owned += [f"{root}/training-jobs/{training['id']}", f"{root}/models/{model_id}", f"{root}/inference-jobs/{order['id']}"]
    async with httpx2.AsyncClient(base_url=gateway.url, headers={"x-api-key": gateway.world.new_key()}, verify=False) as stranger:
        for address in owned:
            assert (await client.get(address)).status_code == 200
            assert_detail(await stranger.get(address), 404)
        assert_detail(await stranger.delete(f"{path}/annotations/{annotation['id']}"), 404)
        for name in ("datasets", "training-jobs", "models", "inference-jobs"):
            assert (await stranger.get(f"{root}/{name}")).json()["items"] == []


@pytest.mark.parametrize("root", BOTH)
async def test_every_reason_of_a_service_is_told_with_its_status(gateway: Running, client: httpx2.AsyncClient, root: str) -> None:
    for reason in REASONS:
        for path in (f"/datasets/{UNKNOWN}", f"/training-jobs/{UNKNOWN}"):
            gateway.world.detection_failures.append(refusal(reason))
            told = await client.get(root + path)
            assert told.status_code == (500 if reason in INTERNAL_REASONS else ANSWERS[reason].status), (reason, told.text)
            assert told.status_code in {400, 401, 403, 404, 422, 500}, reason
            assert "detail" in told.json()
            assert ("code" in told.json()) == (root == "/api/v1")
    assert gateway.world.detection_failures == []


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        *((reason, 400) for reason in ("ANNOTATION_SET_PUBLISHED", "ANNOTATION_SET_EMPTY", "ARTIFACT_TYPE_IN_USE", "AUDIO_IN_USE")),
        *((reason, 400) for reason in ("ANNOTATION_SET_NOT_PUBLISHED", "AUDIO_NOT_READY", "TOO_LITTLE_AUDIO", "TOO_FEW_ANNOTATIONS")),
        *((reason, 400) for reason in ("MODEL_INACTIVE", "MODEL_IN_USE", "UNKNOWN_ARTIFACT_TYPE", "UPLOAD_INCOMPLETE")),
        *((reason, 400) for reason in ("JOB_ALREADY_ENDED", "NO_CREDITS", "UNSUPPORTED_MEDIA", "MEDIA_TOO_LARGE", "MEDIA_TOO_LONG")),
        *((reason, 404) for reason in ("DATASET_NOT_FOUND", "AUDIO_NOT_FOUND", "ANNOTATION_SET_NOT_FOUND", "ANNOTATION_NOT_FOUND")),
        *((reason, 404) for reason in ("TRAINING_JOB_NOT_FOUND", "MODEL_NOT_FOUND", "INFERENCE_JOB_NOT_FOUND", "FILE_NOT_FOUND")),
    ],
)
async def test_preconditions_and_conflicts_are_400_and_what_is_not_there_404(
    gateway: Running, client: httpx2.AsyncClient, reason: str, status: int
) -> None:
    sentences = set()
    for root in BOTH:
        gateway.world.detection_failures.append(refusal(reason))
        response = await client.post(f"{root}/training-jobs", json=TRAINING)
        sentences.add(assert_detail(response, status))
        assert root == ROOT or response.json()["code"] == native_errors.ANSWERS[reason].code
    assert len(sentences) == 1
    assert reason == "MEDIA_TOO_LONG" or not re.search(r"secret|10\.0\.0\.1", sentences.pop())


async def test_refusal_names_the_type_that_it_is_about_and_never_an_id(gateway: Running, client: httpx2.AsyncClient) -> None:
    class TooFewAnnotations(FailedPrecondition):
        """No annotation."""

    class AudioNotFound(NotFound):
        """No file."""

    for error, told in ((TooFewAnnotations(artifact_type="hum"), True), (AudioNotFound(audio_id="hum"), False)):
        gateway.world.detection_failures.append(error)
        answer = await client.post(f"{ROOT}/training-jobs", json=TRAINING)
        assert ("hum" in answer.json()["detail"]) == told


@pytest.mark.parametrize("root", BOTH)
async def test_field_that_a_service_refuses_is_told_under_the_contracts_name(
    gateway: Running, client: httpx2.AsyncClient, root: str
) -> None:
    fields = {"end_offset_ms": "end_ms", "size_bytes": "file_size", "config.stride_ms": "stride_ms"}
    for field, shown in fields.items():
        gateway.world.detection_failures.append(InvalidField("It is refused.", field=field))
        answer = await client.post(f"{root}/training-jobs", json=TRAINING)
        assert_fields(answer, ["body", shown])
        assert answer.json()["detail"][0]["msg"] == "It is refused."


@pytest.mark.parametrize("root", BOTH)
async def test_rates_of_relay_count_at_both_prefixes_together(gateway: Running, root: str) -> None:
    gateway.world.rates.append(RateClass(contract="relay", reads_per_minute=2, uploads_per_minute=1))
    try:
        headers = {"x-api-key": gateway.world.new_key()}
        async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, verify=False) as client:
            assert [(await client.get(f"{each}/datasets")).status_code for each in BOTH] == [200, 200]
            limited = await client.get(f"{root}/models")
            assert_detail(limited, 429)
            assert int(limited.headers["retry-after"]) > 0
    finally:
        gateway.world.rates.clear()


@pytest.mark.parametrize("path", ["/datasets/x/y", "/models/x/y/z", "/inference-jobs/x/nothing", "/training-jobs/x/y"])
async def test_unknown_address_is_404_in_the_words_of_its_prefix(client: httpx2.AsyncClient, path: str) -> None:
    for root in BOTH:
        assert_detail(await client.get(root + path), 404)


@pytest.mark.parametrize("root", BOTH)
async def test_wrong_method_is_405_with_allow(client: httpx2.AsyncClient, root: str) -> None:
    response = await client.put(f"{root}/datasets/{UNKNOWN}")
    assert_detail(response, 405)
    assert {"GET", "PATCH", "DELETE"} <= {method.strip() for method in response.headers["allow"].split(",")}


@pytest.mark.parametrize("path", [f"{DATASET}/audio/confirm", f"{DATASET}/audio/upload-url", f"{SET}/annotations/bulk"])
async def test_word_in_the_place_of_an_id_has_methods_of_its_own(client: httpx2.AsyncClient, path: str) -> None:
    for root in BOTH:
        response = await ask(client, root, "DELETE", path, None)
        assert_detail(response, 405)
        assert response.headers["allow"] == "POST"
