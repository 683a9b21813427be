"""What identity remembers, forgets at once when a key is revoked, and never writes down."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import pytest

from services.gateway.domain import Reason
from services.gateway.peers import open_peers
from services.gateway.revocations import Revocations
from services.mesh.api_keys import ApiKeys
from services.mesh.bus import open_bus
from services.mesh.identity import TokenSigner, load_key
from services.mesh.ids import new_id
from services.mesh.status import RemoteError
from services.mesh.streams import event_subject
from steno.billing.v1.billing_events_pb2 import KeyRevoked
from tests.gateway.identity_bench import APP, CLAIM, WORKSPACE, Bench, Headers, bearer, logging_to
from tests.oidc import EMAIL
from tests.servers import nats_server

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_answers_of_billing_are_remembered(bench: Bench) -> None:
    app = bench.key(APP)
    asks: list[Callable[[], Headers]] = [
        lambda: {"X-API-Key": app, **bearer(bench.open.mint())},
        lambda: {"X-API-Key": app, "X-Guest-Token": wallet},
        lambda: bearer(bench.members.mint()),
    ]
    wallet = bench.world.new_wallet(app)
    for ask in asks:
        await bench.ask(ask())
        before = (bench.world.authentications, bench.world.resolutions)
        for _ in range(5):
            await bench.ask(ask())
        assert (bench.world.authentications, bench.world.resolutions) == before


async def test_no_secret_is_logged(bench: Bench) -> None:
    log = StringIO()
    with logging_to(log):
        secret = bench.key(APP, "read", "act_as_user")
        good, bad = bench.open.mint(), bench.open.mint(exp=1)
        wallet = bench.world.new_wallet(secret)
        await bench.ask({"X-API-Key": secret, **bearer(good), "X-Claim-Token": CLAIM})
        await bench.ask({"X-API-Key": secret, "X-Guest-Token": wallet})
        await bench.refused({"X-API-Key": secret, **bearer(bad)})
        await bench.refused({"X-API-Key": secret, "X-Guest-Token": wallet + "x"})
        await bench.refused({"X-API-Key": "sk_test_canary"})
        await bench.refused({"X-API-Key": secret, "X-User-Email": "canary@"}, "POST")
    told = log.getvalue()
    assert "token refused" in told, "the log that is searched is the one that is written"
    for hidden in (secret, "sk_test_canary", good, bad, wallet, CLAIM, "canary@", EMAIL, *good.split("."), *bad.split(".")):
        assert hidden not in told


async def test_revoked_key_stops_everywhere_within_a_second(bench: Bench, tmp_path: Path) -> None:
    signer = TokenSigner(load_key(bench.settings.identity_key_file), "gateway")
    async with nats_server(tmp_path) as nats, open_bus(nats.url, name="billing") as bus, open_peers(bench.settings, signer) as peers:
        gateways = [Gateway(ApiKeys(peers.accounts, remember_seconds=600), nats.url) for _ in range(2)]
        async with asyncio.TaskGroup() as group:
            for gateway in gateways:
                group.create_task(gateway.revocations.run(gateway.stopping))
            async with asyncio.timeout(60):
                while not all([await gateway.revocations.connected() for gateway in gateways]):
                    await asyncio.sleep(0.01)
            secret = bench.key(WORKSPACE)
            for gateway in gateways:
                await gateway.keys.resolve(secret)
            key = bench.world.keys[secret]
            key.revoke_time.GetCurrentTime()
            event = KeyRevoked(api_key_id=key.id, workspace_id=key.workspace_id)
            await bus.publish(event_subject("billing", KeyRevoked), event, event_id=new_id())
            async with asyncio.timeout(1):
                for gateway in gateways:
                    await gateway.wait_until_refused(secret)
            for gateway in gateways:
                gateway.stopping.set()


async def test_answer_that_a_revocation_overtakes_is_not_remembered(bench: Bench) -> None:
    secret = bench.key(WORKSPACE)
    key = bench.world.keys[secret]
    asking = asyncio.create_task(bench.keys.resolve(secret))
    await asyncio.sleep(0)
    bench.keys.forget(key.id)
    await asking
    key.revoke_time.GetCurrentTime()
    assert await bench.refused({"X-API-Key": secret}) == Reason.INVALID_API_KEY


@dataclass
class Gateway:
    """The part of a gateway that knows keys."""

    keys: ApiKeys
    nats_url: str
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.revocations = Revocations(self.nats_url, self.keys)

    async def wait_until_refused(self, secret: str) -> None:
        while True:
            try:
                await self.keys.resolve(secret)
            except RemoteError as error:
                if error.reason_name == "INVALID_API_KEY":
                    return
            await asyncio.sleep(0.005)
