"""Names of models."""

from pathlib import Path

import openai
import pytest

from steno.inference.v1.inference_service_pb2 import Model
from tests.gateway.conftest import Running, open_gateway
from tests.gateway.openai_client import SOUND, client_of, transcribed

pytestmark = pytest.mark.asyncio(loop_scope="session")
DEPLOYED = "pocketsphinx-en-us"


async def test_list_has_the_deployed_models_and_the_known_names(gateway: Running) -> None:
    async with client_of(gateway) as client:
        models = {model.id: model async for model in client.models.list()}
    assert {DEPLOYED, "whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe-diarize"} <= set(models)
    assert (models[DEPLOYED].owned_by, models["whisper-1"].owned_by, models[DEPLOYED].object) == ("local", "steno", "model")


@pytest.mark.parametrize("name", [DEPLOYED, "whisper-1", "Systran/faster-whisper-large-v3", "anything"])
async def test_every_name_is_a_model(gateway: Running, name: str) -> None:
    async with client_of(gateway) as client:
        assert (await client.models.retrieve(name)).id == name
        assert (await transcribed(gateway, client, model=name))[0].text


async def test_without_a_default_only_deployed_and_mapped_names_are_models(tmp_path: Path) -> None:
    mapped = {"whisper-1": DEPLOYED, "org/name": DEPLOYED, "dead": "gone"}
    async with open_gateway(tmp_path, openai_default_model="", openai_models=mapped) as gateway, client_of(gateway) as client:
        assert {model.id async for model in client.models.list()} == {DEPLOYED, "whisper-1", "org/name"}
        assert (await client.models.retrieve("org/name")).id == "org/name"
        for name in ("whisper-2", "dead", "a/b"):
            with pytest.raises(openai.NotFoundError) as refused:
                await client.audio.transcriptions.create(file=SOUND, model=name)
            assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
            assert gateway.world.jobs_of(client.api_key) == []
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("whisper-2")
        assert (await transcribed(gateway, client, model="org/name"))[0].text


async def test_default_must_be_deployed(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, openai_default_model="whisper-large-v3") as gateway, client_of(gateway) as client:
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("whisper-1")
        assert [model.id async for model in client.models.list()] == [DEPLOYED]
        gateway.world.models.append(Model(name="whisper-large-v3", engine="triton"))
        assert (await client.models.retrieve("whisper-1")).id == "whisper-1"


async def test_names_are_not_endless(gateway: Running) -> None:
    async with client_of(gateway) as client:
        with pytest.raises(openai.NotFoundError):
            await client.audio.transcriptions.create(file=SOUND, model="x" * 256)


async def test_host_name_stands_for_the_contract(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, contract_hosts="audio.example.com=openai") as gateway, client_of(gateway) as client:
        named = {"host": "audio.example.com"}
        assert (await client.models.list(extra_headers=named)).data
        with pytest.raises(openai.NotFoundError) as refused:
            await client.get("/chat", cast_to=object, options={"headers": named})
        assert refused.value.code == "not_found"
