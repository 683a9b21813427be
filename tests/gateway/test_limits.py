"""Slots, remembered keys and kept transcripts."""

from contextlib import AsyncExitStack

import httpx2
import pytest

from services.gateway.domain import Reason, Refusal
from services.gateway.identity.opening import open_identity
from services.gateway.limits import Slots
from services.gateway.multipart import FieldMemory, FormLimits, FormReader
from services.gateway.peers import open_peers
from services.gateway.transcripts import Transcripts
from services.mesh.api_keys import ApiKeys
from services.mesh.identity import TokenSigner, load_key
from services.mesh.status import RemoteError
from steno.jobs.v1.job_pb2 import Job
from tests.gateway.conftest import Running

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_slots_are_given_back() -> None:
    slots = Slots(1)
    for _ in range(3):
        with slots.taken(), pytest.raises(Refusal) as refused, slots.taken():
            pass
        assert refused.value.reason is Reason.OVERLOADED


async def test_one_holder_has_its_share_and_no_more() -> None:
    slots = Slots(4, share=2)
    with slots.taken("a"), slots.taken("a"):
        with pytest.raises(Refusal), slots.taken("a"):
            pass
        with slots.taken("b"), slots.taken(), pytest.raises(Refusal), slots.taken("c"):
            pass
    with slots.taken("a"), slots.taken("a"):
        pass


async def test_remembered_key_is_dropped_after_its_time_and_when_revoked(gateway: Running) -> None:
    signer = TokenSigner(load_key(gateway.settings.identity_key_file), "gateway")
    clock = Clock()
    async with AsyncExitStack() as stack:
        peers = await stack.enter_async_context(open_peers(gateway.settings, signer))
        keys = ApiKeys(peers.accounts, remember_seconds=5, clock=clock)
        identity = await stack.enter_async_context(open_identity(gateway.settings, keys, peers.accounts))
        secret = gateway.world.new_key()
        shown = [(b"x-api-key", secret.encode())]
        key = gateway.world.keys[secret]
        before = gateway.world.authentications
        await identity.resolve("GET", shown)
        await identity.resolve("GET", shown)
        assert gateway.world.authentications == before + 1
        clock.now += 5
        await identity.resolve("GET", shown)
        assert gateway.world.authentications == before + 2
        key.revoke_time.GetCurrentTime()
        assert (await identity.resolve("GET", shown)).caller.key_id == key.id
        keys.forget(key.id)
        with pytest.raises(RemoteError) as refused:
            await identity.resolve("GET", shown)
        assert refused.value.reason_name == "INVALID_API_KEY"


async def test_kept_transcripts_stay_within_their_bytes(gateway: Running) -> None:
    signer = TokenSigner(load_key(gateway.settings.identity_key_file), "gateway")
    for name in ("one", "two", "three"):
        gateway.world.blobs[name] = bytearray(name.encode() * 10)
    jobs = {name: Job(workspace_id="w", transcript_artefact_id=name) for name in ("one", "two", "three")}
    async with open_peers(gateway.settings, signer) as peers, httpx2.AsyncClient(verify=False) as http:
        kept = Transcripts(peers.storage, http, cache_bytes=65, max_bytes=45)
        gateway.world.signed_by.clear()
        for name in ("one", "two", "one", "two"):
            assert await kept.read(jobs[name]) == name.encode() * 10
        assert len(gateway.world.signed_by) == 2
        with pytest.raises(Refusal):
            await kept.read(jobs["three"])


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
async def test_form_is_read_the_same_in_pieces_of_any_size(size: int) -> None:
    content = b"\r\n--x\r-\n--\r\n--c" * 50
    body = (
        b'--b\r\nContent-Disposition: form-data; name="language"\r\n\r\nen\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + content + b"\r\n--b--\r\nepilogue"
    )
    reader = FormReader(b"b")
    events = [event for at in range(0, len(body), size) for event in reader.feed(body[at : at + size])]
    reader.finish()
    assert reader.fields == {"language": ["en"]}
    assert b"".join(event for event in events if isinstance(event, bytes)) == content


async def test_large_fields_of_all_forms_share_a_bound_and_give_it_back() -> None:
    limits = FormLimits(large_fields=frozenset({"voice"}), max_large_field_bytes=1000)
    memory = FieldMemory(1500)
    body = b'--b\r\nContent-Disposition: form-data; name="voice"\r\n\r\n' + b"x" * 1000
    first, second = FormReader(b"b", limits, memory), FormReader(b"b", limits, memory)
    first.feed(body)
    with pytest.raises(Refusal) as refused:
        second.feed(body)
    assert refused.value.reason is Reason.OVERLOADED
    first.close()
    second.close()
    FormReader(b"b", limits, memory).feed(body)
