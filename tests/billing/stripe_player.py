"""A small server that plays Stripe: it makes sessions, remembers what it was asked, and signs events."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

SECRET_KEY = "sk_test_of_the_stripe_account"
WEBHOOK_SECRET = "whsec_of_the_stripe_account"


@dataclass
class StripePlayer:
    """What Stripe was asked. status: what the next answers are, 200 unless a test wants refusals."""

    url: str = ""
    status: int = 200
    silent: threading.Event | None = None
    forms: list[dict[str, str]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)

    def session_of(self, checkout_id: str) -> dict[str, Any]:
        """The session that a checkout made."""
        return next(item for item in self.sessions.values() if item["metadata"]["checkout_id"] == checkout_id)

    def make(self, key: str, form: dict[str, str]) -> dict[str, Any]:
        """A session; the same one again for the same idempotency key."""
        number = len(self.sessions) + 1
        session = {
            "id": f"cs_test_{number}",
            "object": "checkout.session",
            "url": f"{self.url}/pay/cs_test_{number}",
            "metadata": {"checkout_id": form["metadata[checkout_id]"]},
            "client_reference_id": form["client_reference_id"],
            "payment_status": "unpaid",
            "amount_total": int(form["line_items[0][price_data][unit_amount]"]),
            "currency": form["line_items[0][price_data][currency]"],
        }
        return self.sessions.setdefault(key, session)


def event_of(kind: str, session: Mapping[str, Any], **changes: Any) -> bytes:
    """The body of an event about a session."""
    content = {"id": "evt_1", "object": "event", "type": kind, "data": {"object": {**session, **changes}}}
    return json.dumps(content).encode()


def paid_event(session: Mapping[str, Any], **changes: Any) -> bytes:
    """The body of the event that a session is paid."""
    return event_of("checkout.session.completed", session, **{"payment_status": "paid", **changes})


def sign(payload: bytes, secret: str = WEBHOOK_SECRET, age_seconds: int = 0) -> str:
    """The Stripe-Signature header of a body."""
    moment = int(time.time()) - age_seconds
    mac = hmac.new(secret.encode(), f"{moment}.".encode() + payload, hashlib.sha256)
    return f"t={moment},v1={mac.hexdigest()}"


def _handler(player: StripePlayer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            player.forms.append(form)
            player.headers.append(dict(self.headers))
            if player.silent is not None:
                player.silent.wait(30)
            refused = {"error": {"type": "api_error", "message": f"refused {SECRET_KEY}"}}
            content = player.make(self.headers["Idempotency-Key"], form) if player.status == 200 else refused
            body = json.dumps(content).encode()
            self.send_response(player.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Nothing on the test's output."""

    return Handler


@contextmanager
def stripe_player() -> Iterator[StripePlayer]:
    """Stripe on loopback."""
    player = StripePlayer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(player))
    player.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="stripe")
    thread.start()
    try:
        yield player
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
