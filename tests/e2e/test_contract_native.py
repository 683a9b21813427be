"""The native contract over the whole mesh: URLs, uploads of clients' own, guests and users, playback."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.billing.stripe_player import SECRET_KEY, WEBHOOK_SECRET, StripePlayer, paid_event, sign, stripe_player
from tests.e2e.mesh import SAMPLES, Mesh, wait_for
from tests.e2e.open_mesh import OpenMesh, running_open_mesh
from tests.e2e.scores import word_error_rate
from tests.e2e.web import running_web

pytestmark = pytest.mark.timeout(300)
HELLO = SAMPLES / "clips" / "hello.flac"
HELLO_TEXT = "Thank you for calling, we will be with you in a moment."
UNKNOWN = "35f4be54-aa3e-4adc-85b7-b44f284d1fc3"


@pytest.fixture(scope="module")
def stripe() -> Iterator[StripePlayer]:
    """The payment provider."""
    with stripe_player() as player:
        yield player


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, stripe: StripePlayer) -> Iterator[OpenMesh]:
    """One mesh for all of these tests, which sells credit."""
    folder = tmp_path_factory.mktemp("open")
    for name, secret in (("secret", SECRET_KEY), ("webhook", WEBHOOK_SECRET)):
        (folder / name).write_text(secret)
        (folder / name).chmod(0o600)
    environment = {
        "STENO_BILLING_PAYMENT_PROVIDER": "stripe",
        "STENO_BILLING_STRIPE_URL": stripe.url,
        "STENO_BILLING_STRIPE_SECRET_KEY_FILE": str(folder / "secret"),
        "STENO_BILLING_STRIPE_WEBHOOK_SECRET_FILE": str(folder / "webhook"),
    }
    with running_open_mesh(folder, environment) as mesh:
        yield mesh


def submit(client: httpx2.Client, path: Path = HELLO) -> dict[str, Any]:
    """The accepted job of a file."""
    response = client.post("/api/v1/transcribe", files={"file": (path.name, path.read_bytes())})
    assert response.status_code == 202, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ended(client: httpx2.Client, job_id: str) -> dict[str, Any]:
    """A job's row once it has ended."""

    def row() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"/api/v1/jobs/{job_id}").raise_for_status().json()
        return found if found["status"] in ("done", "failed", "cancelled") else None

    return wait_for(row, 120, f"job {job_id} to end", every=0.1)


def refusal(response: httpx2.Response) -> tuple[int, str]:
    """Status and code."""
    return response.status_code, response.json()["code"]


def test_media_at_a_url_is_fetched_and_transcribed(opened: OpenMesh) -> None:
    mesh = opened.mesh
    url = opened.web.redirect(opened.web.publish(HELLO))
    answer = mesh.client.post("/api/v1/transcribe/url", json={"url": url, "language": "en"})
    assert answer.status_code == 202
    row = mesh.finished(answer.json()["job_id"])
    assert (row["status"], row["source"], row["waiting_for"]) == ("done", "url", None)
    assert abs(row["audio_duration_seconds"] - 3.775) < 0.05
    assert row["billed_seconds"] > 0
    assert word_error_rate(HELLO_TEXT, mesh.result(row["job_id"])) <= 0.2


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/secret",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:{port}/",
        "file:///etc/passwd",
    ],
)
def test_redirect_into_private_networks_fails_the_job_and_is_not_followed(opened: OpenMesh, target: str) -> None:
    with running_web() as secret:
        url = opened.web.redirect(target.format(port=secret.url.rpartition(":")[2]))
        answer = opened.mesh.client.post("/api/v1/transcribe/url", json={"url": url})
        row = opened.mesh.finished(answer.json()["job_id"])
        assert (row["status"], row["error_code"], row["billed_seconds"]) == ("failed", "FETCH_BLOCKED", 0)
        assert secret.hits == []
        assert "127.0.0.1" not in row["error"]


def test_url_of_no_media_fails_its_job_and_costs_nothing(opened: OpenMesh) -> None:
    opened.web.files["/page.html"] = b"<!doctype html><title>hello</title>"
    codes = []
    for path in ("page.html", "missing.mp3"):
        answer = opened.mesh.client.post("/api/v1/transcribe/url", json={"url": f"{opened.web.url}/{path}"})
        row = opened.mesh.finished(answer.json()["job_id"])
        assert (row["status"], row["billed_seconds"]) == ("failed", 0)
        codes.append(row["error_code"])
    assert codes == ["UNSUPPORTED_MEDIA", "FETCH_FAILED"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.mp3",
        "http://127.0.0.2/a.mp3",
        "http://10.0.0.1/a.mp3",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/a.mp3",
        "http://[::ffff:127.0.0.1]/a.mp3",
        "http://2130706433/a.mp3",
        "http://localhost/a.mp3",
        "file:///etc/passwd",
        "ftp://media.example/a.mp3",
        "https://you@media.example/a.mp3",
        "https://media.example@127.0.0.1/a.mp3",
    ],
)
def test_mesh_as_it_comes_fetches_from_nowhere_private(embedded: Mesh, url: str) -> None:
    assert refusal(embedded.client.post("/api/v1/transcribe/url", json={"url": url})) == (400, "BAD_URL")


def test_client_uploads_by_itself(mesh: Mesh) -> None:
    announced = mesh.client.post("/api/v1/uploads/init", json={"filename": "hello.flac", "language": "en", "source": "recording"})
    assert announced.status_code == 202
    order = announced.json()
    assert mesh.job(order["job_id"])["waiting_for"] == "upload"
    assert refusal(mesh.client.post(order["complete_url"])) == (409, "UPLOAD_INCOMPLETE")
    with mesh.client_for("") as browser:
        assert refusal(browser.put(order["upload_url"] + "x", content=b"RIFF")) == (404, "NOT_FOUND")
        assert browser.put(order["upload_url"], content=HELLO.read_bytes()).status_code == 204
    for _ in range(2):
        assert mesh.client.post(order["complete_url"]).status_code == 202
    row = mesh.finished(order["job_id"])
    assert (row["status"], row["source"], row["filename"]) == ("done", "recording", "hello.flac")
    assert word_error_rate(HELLO_TEXT, mesh.result(order["job_id"])) <= 0.2
    with mesh.client_for("") as browser:
        assert refusal(browser.put(order["upload_url"], content=b"RIFF")) == (404, "NOT_FOUND")


@pytest.mark.parametrize("name", ["../../etc/passwd", "ta\0lk\u202e.flac", "\ud83c\udfa4.wav", "..", "x" * 1024])
def test_any_name_of_an_upload_is_accepted_and_shown_clean(mesh: Mesh, name: str) -> None:
    order = mesh.client.post("/api/v1/uploads/init", content=json.dumps({"filename": name}), headers={"Content-Type": "application/json"})
    assert order.status_code == 202, order.text
    shown = mesh.job(order.json()["job_id"])["filename"]
    assert 0 < len(shown) <= 255
    assert not set(shown) & set("\0/\u202e")


def test_upload_of_no_media_is_told_when_it_is_completed(embedded: Mesh) -> None:
    order = embedded.client.post("/api/v1/uploads/init", json={"filename": "notes.txt"}).json()
    assert embedded.client.put(order["upload_url"], content=b"just some text" * 100).status_code == 204
    assert refusal(embedded.client.post(order["complete_url"])) == (415, "BAD_MIME")


def test_upload_larger_than_announced_is_413(embedded: Mesh) -> None:
    order = embedded.client.post("/api/v1/uploads/init", json={"filename": "a.wav", "size_bytes": 1000}).json()
    assert refusal(embedded.client.put(order["upload_url"], content=bytes(500_000))) == (413, "FILE_TOO_LARGE")
    assert refusal(embedded.client.post(order["complete_url"])) == (409, "UPLOAD_INCOMPLETE")


def test_guest_proves_its_job_by_claim_token_until_a_user_claims_it(opened: OpenMesh) -> None:
    with opened.guest() as guest, opened.user() as user, opened.user("bob@example.com") as other:
        answer = submit(guest)
        token = {"X-Claim-Token": answer["claim_token"]}
        url = f"/api/v1/jobs/{answer['job_id']}"
        assert refusal(guest.get(url)) == (401, "AUTHENTICATION_REQUIRED")
        assert refusal(guest.get(url, headers={"X-Claim-Token": "0" * 64})) == (404, "NOT_FOUND")
        assert refusal(user.get(url)) == (404, "NOT_FOUND")
        assert refusal(guest.get(f"/api/v1/jobs/{UNKNOWN}")) == (404, "NOT_FOUND")
        row = guest.get(url, headers=token).json()
        assert row["retention_days"] == 3
        assert refusal(guest.post("/api/v1/jobs/claim", json={"claim_tokens": [answer["claim_token"]]})) == (401, "AUTHENTICATION_REQUIRED")
        claims = [client.post("/api/v1/jobs/claim", json={"claim_tokens": [answer["claim_token"]]}) for client in (user, other)]
        assert [claim.json() for claim in claims] == [{"claimed": 1}, {"claimed": 0}]
        assert user.get(url).json()["retention_days"] == 30
        assert [row["job_id"] for row in user.get("/api/v1/jobs").json()] == [answer["job_id"]]
        assert refusal(other.get(url)) == (404, "NOT_FOUND")
        assert refusal(guest.get(url, headers=token)) == (404, "NOT_FOUND")


def test_me_is_what_the_server_sees(opened: OpenMesh) -> None:
    with opened.guest() as guest, opened.user() as user:
        assert guest.get("/api/v1/me").json() == {"email": None, "tier": "guest", "retention_days": 3, "signed_in": False}
        assert user.get("/api/v1/me").json() == {"email": "ada@example.com", "tier": "free", "retention_days": 30, "signed_in": True}
        assert refusal(guest.get("/api/v1/me", headers={"Authorization": "Bearer eyJh.e30.x"})) == (401, "INVALID_TOKEN")
    assert opened.mesh.client.get("/api/v1/me").json() == {"email": None, "tier": "paid", "retention_days": 365, "signed_in": True}


def test_job_of_a_user_is_paid_from_its_own_credit_and_deleting_refunds_nothing(opened: OpenMesh) -> None:
    with opened.user("carol@example.com") as user:
        before = user.get("/api/v1/credits").json()
        assert (before["plan"], before["available_hours"]) == ("free", 10.0)
        answer = submit(user)
        assert (set(answer), answer["tier"]) == ({"job_id", "status", "tier"}, 1)
        row = ended(user, answer["job_id"])
        charged = wait_for(lambda: user.get("/api/v1/usage").json()["used_hours"] or None, 30, "the charge")
        assert abs(charged * 3600 - row["billed_seconds"]) < 0.01
        assert user.delete(f"/api/v1/jobs/{answer['job_id']}").status_code == 204
        usage = user.get("/api/v1/usage").json()
        assert (usage["used_hours"], usage["uploads"]) == (charged, 1)


def test_playback_url_streams_ranges_without_a_key(mesh: Mesh) -> None:
    job_id = mesh.submitted(HELLO)
    body = mesh.client.get(f"/api/v1/jobs/{job_id}/audio/url").raise_for_status().json()
    assert 0 < body["expires_in"] <= 600
    url = "/api" + body["url"] if body["storage"] == "disk" else body["url"]
    with mesh.client_for("") as browser:
        part = browser.get(url, headers={"Range": "bytes=4-9"})
        assert (part.status_code, part.content) == (206, HELLO.read_bytes()[4:10])
        assert browser.get(url).content == HELLO.read_bytes()


def test_guest_buys_credit_and_spends_it(opened: OpenMesh, stripe: StripePlayer) -> None:
    order = {"pack": "hours-10", "success_url": "https://app.example/thanks", "cancel_url": "https://app.example/shop"}
    with opened.guest() as guest, opened.mesh.client_for("") as provider:
        assert "hours-10" in [pack["name"] for pack in guest.get("/api/v1/credits/packs").json()]
        begun = guest.post("/api/v1/credits/checkout", json=order).raise_for_status().json()
        assert (begun["status"], begun["url"].startswith(stripe.url)) == ("open", True)
        buyer = {"X-Guest-Token": begun["guest_token"]}
        assert guest.get("/api/v1/credits", headers=buyer).json()["available_hours"] == 0
        payload = paid_event(stripe.session_of(begun["checkout_id"]))
        events = "/api/v1/payments/stripe/events"
        forged = provider.post(events, content=payload, headers={"Stripe-Signature": sign(payload, "whsec_of_another")})
        assert refusal(forged) == (400, "INVALID_PAYMENT_EVENT")
        for _ in range(2):
            taken = provider.post(events, content=payload, headers={"Stripe-Signature": sign(payload)})
            assert (taken.status_code, taken.json()) == (200, {})
        checkout = guest.get(f"/api/v1/credits/checkout/{begun['checkout_id']}", headers=buyer).json()
        assert (checkout["status"], checkout["url"]) == ("paid", None)
        assert guest.get("/api/v1/credits", headers=buyer).json()["available_hours"] == 10.0
        answer = guest.post("/api/v1/transcribe", files={"file": ("hello.flac", HELLO.read_bytes())}, headers=buyer)
        assert answer.status_code == 202, answer.text
        assert guest.get("/api/v1/credits", headers=buyer).json()["available_hours"] < 10.0
        assert [row["job_id"] for row in guest.get("/api/v1/jobs", headers=buyer).json()] == [answer.json()["job_id"]]


def test_nothing_is_sold_by_a_mesh_as_it_comes(embedded: Mesh) -> None:
    assert embedded.client.get("/api/v1/credits/packs").json() == []
    order = {"pack": "hours-10", "success_url": "https://app.example/", "cancel_url": "https://app.example/"}
    assert refusal(embedded.client.post("/api/v1/credits/checkout", json=order)) == (409, "PAYMENTS_DISABLED")
