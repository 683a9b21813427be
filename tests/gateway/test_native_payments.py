"""Buying credit over HTTP."""

from typing import Any

import httpx2
import pytest

from steno.billing.v1.api_key_pb2 import ApiKey
from tests.gateway.conftest import Running
from tests.gateway.native import assert_error
from tests.gateway.peers.payments import SIGNATURE

pytestmark = pytest.mark.asyncio(loop_scope="session")
CHECKOUT = "/api/v1/credits/checkout"
EVENTS = "/api/v1/payments/stripe/events"
ORDER = {"pack": "ten-hours", "success_url": "https://app.example/thanks", "cancel_url": "http://localhost:3000/shop"}


async def test_packs_say_what_is_on_sale(client: httpx2.AsyncClient) -> None:
    pack = {"name": "ten-hours", "title": "10 hours", "hours": 10.0, "price_cents": 900, "currency": "usd"}
    assert (await client.get("/api/v1/credits/packs")).json() == [pack]


async def test_checkout_is_begun_and_looked_at(gateway: Running, client: httpx2.AsyncClient) -> None:
    begun = await client.post(CHECKOUT, json=ORDER)
    assert begun.status_code == 201
    row = begun.json()
    assert set(row) == {"checkout_id", "pack", "status", "url", "created_at"}
    assert (row["pack"], row["status"], row["url"]) == ("ten-hours", "open", "https://app.example/thanks#pay")
    assert (await client.get(f"{CHECKOUT}/{row['checkout_id']}")).json() == row
    other = {"x-api-key": gateway.world.new_key()}
    assert_error(await client.get(f"{CHECKOUT}/{row['checkout_id']}", headers=other), 404, "NOT_FOUND")
    assert_error(await client.get(f"{CHECKOUT}/1"), 400, "BAD_ID")


async def test_guest_that_buys_gets_a_wallet_and_its_token_once(gateway: Running, client: httpx2.AsyncClient) -> None:
    guest = {"x-api-key": gateway.world.new_key(ApiKey.KIND_APP)}
    begun = (await client.post(CHECKOUT, json=ORDER, headers=guest)).json()
    buyer = {**guest, "x-guest-token": begun["guest_token"]}
    assert "guest_token" not in (await client.get(f"{CHECKOUT}/{begun['checkout_id']}", headers=buyer)).json()
    assert "guest_token" not in (await client.post(CHECKOUT, json=ORDER, headers=buyer)).json()
    assert_error(await client.get(f"{CHECKOUT}/{begun['checkout_id']}", headers=guest), 404, "NOT_FOUND")
    assert_error(await client.get("/api/v1/me", headers={**guest, "x-guest-token": "gt_unknown"}), 401, "INVALID_GUEST_TOKEN")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"pack": "none"}, "UNKNOWN_CREDIT_PACK"),
        ({"pack": 5}, "BAD_FIELD"),
        ({"pack": ""}, "BAD_FIELD"),
        ({"success_url": "javascript:alert(1)"}, "BAD_FIELD"),
        ({"success_url": "/thanks"}, "BAD_FIELD"),
        ({"cancel_url": "https://app.example/ shop"}, "BAD_FIELD"),
        ({"cancel_url": None}, "BAD_FIELD"),
    ],
)
async def test_wrong_checkout_is_422(client: httpx2.AsyncClient, changes: dict[str, Any], code: str) -> None:
    assert_error(await client.post(CHECKOUT, json={**ORDER, **changes}), 422, code)


async def test_nothing_is_sold_without_a_payment_provider(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.sells = False
    try:
        assert (await client.get("/api/v1/credits/packs")).json() == []
        assert_error(await client.post(CHECKOUT, json=ORDER), 409, "PAYMENTS_DISABLED")
    finally:
        gateway.world.sells = True


async def test_payment_provider_that_fails_is_502_of_its_own(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.provider_fails = True
    try:
        assert_error(await client.post(CHECKOUT, json=ORDER), 502, "PAYMENT_PROVIDER_FAILED")
    finally:
        gateway.world.provider_fails = False


async def test_signed_event_is_passed_on_to_the_byte_without_a_key(gateway: Running) -> None:
    payload = b'{ "id": "evt_1",\n "type": "checkout.session.completed" }'
    async with httpx2.AsyncClient(base_url=gateway.url, verify=False) as provider:
        taken = await provider.post(EVENTS, content=payload, headers={"stripe-signature": SIGNATURE})
        assert (taken.status_code, taken.json()) == (200, {})
        assert gateway.world.payment_events[-1] == ("service:gateway:", payload)
        for headers in ({}, {"stripe-signature": "t=1,v1=bad"}):
            assert_error(await provider.post(EVENTS, content=payload, headers=headers), 400, "INVALID_PAYMENT_EVENT")
        twice = [("stripe-signature", SIGNATURE), ("stripe-signature", SIGNATURE)]
        assert_error(await provider.post(EVENTS, content=payload, headers=twice), 400, "INVALID_PAYMENT_EVENT")


async def test_event_past_64_kib_is_refused(client: httpx2.AsyncClient) -> None:
    headers = {"stripe-signature": SIGNATURE}
    assert (await client.post(EVENTS, content=b"x" * 65_536, headers=headers)).status_code == 200
    assert_error(await client.post(EVENTS, content=b"x" * 65_537, headers=headers), 400, "BAD_REQUEST")
