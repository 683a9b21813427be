"""The composition root of the gateway."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx2
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.auth import Authenticator
from services.gateway.contracts.native.accounts import Accounts
from services.gateway.contracts.native.errors import NativeErrors
from services.gateway.contracts.native.results import Results
from services.gateway.contracts.native.routes import Native
from services.gateway.contracts.native.submission import Submission
from services.gateway.endpoint import open_route
from services.gateway.events import JobEvents
from services.gateway.http_server import open_http_server
from services.gateway.limits import RateLimiter, Slots
from services.gateway.middleware import Cors, ErrorAnswers, RequestContext
from services.gateway.peers import Peers, open_peers
from services.gateway.playback import Playback
from services.gateway.readiness import Dependency, Readiness, list_models, peer_dependencies
from services.gateway.revocations import Revocations
from services.gateway.settings import GatewaySettings
from services.gateway.transcripts import Transcripts
from services.mesh.api_keys import ApiKeys
from services.mesh.identity import TokenSigner, load_key
from services.mesh.lifecycle import Lifecycle
from services.mesh.telemetry import get_logger

_HTTP_SECONDS = 30.0
_HTTP_CONNECTIONS = 200


@asynccontextmanager
async def app(settings: GatewaySettings, lifecycle: Lifecycle) -> AsyncIterator[None]:
    """The gateway, serving until left."""
    async with AsyncExitStack() as stack:
        signer = TokenSigner(load_key(settings.identity_key_file), "gateway")
        peers = await stack.enter_async_context(open_peers(settings, signer))
        http = await stack.enter_async_context(_open_http_client())
        await stack.enter_async_context(lifecycle.working())
        keys = ApiKeys(peers.accounts, remember_seconds=settings.authentication_cache_seconds)
        authenticator = Authenticator(keys, guest_retention_days=settings.guest_retention_days)
        revocations = Revocations(settings.nats_url, keys)
        lifecycle.spawn(revocations.run(lifecycle.stopping), "revocations")
        readiness = Readiness(
            {**peer_dependencies(peers), "nats": Dependency(revocations.connected, needed=False)},
            lambda: list_models(peers),
            lifecycle.stopping,
        )
        native = _native(settings, peers, http, authenticator, lifecycle)
        server = open_http_server(make_asgi_app(native, readiness, settings), settings, lifecycle)
        port = await stack.enter_async_context(server)
        get_logger("gateway.app").info("listening", host=settings.host, port=port)
        yield


def _open_http_client() -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=_HTTP_CONNECTIONS, max_keepalive_connections=20, keepalive_expiry=5)
    return httpx2.AsyncClient(timeout=_HTTP_SECONDS, limits=limits, trust_env=False, follow_redirects=False)


def _native(
    settings: GatewaySettings, peers: Peers, http: httpx2.AsyncClient, authenticator: Authenticator, lifecycle: Lifecycle
) -> Native:
    transcripts = Transcripts(peers.storage, http, cache_bytes=settings.transcript_cache_bytes, max_bytes=settings.max_transcript_bytes)
    limiter = RateLimiter(settings.submits_per_second, settings.submit_burst)
    return Native(
        peers=peers,
        authenticator=authenticator,
        submission=Submission(peers, settings, Slots(settings.max_uploads), limiter),
        results=Results(peers, transcripts),
        accounts=Accounts(peers),
        events=JobEvents(peers.jobs, settings.keepalive_seconds, lifecycle.stopping),
        event_slots=Slots(settings.max_event_streams),
        playback=Playback(http, settings.storage_data_url),
    )


def make_asgi_app(native: Native, readiness: Readiness, settings: GatewaySettings) -> ASGIApp:
    """Every route behind the middlewares, outermost first."""
    errors = NativeErrors(settings.upgrade_url)

    async def ready(request: Request) -> Response:
        is_ready, document = await readiness.report()
        return JSONResponse(document, 200 if is_ready else 503)

    async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
        raise HTTPException(404)

    application = Starlette(
        routes=[open_route("/healthz", _healthy), open_route("/readyz", ready), open_route("/metrics", _metrics), *native.routes()],
        middleware=[Middleware(RequestContext), Middleware(Cors), Middleware(ErrorAnswers, errors.render)],
        exception_handlers={HTTPException: lambda request, error: errors.render(request.scope, error)},
    )
    application.router.redirect_slashes = False
    application.router.default = not_found
    return application


async def _healthy(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _metrics(request: Request) -> Response:
    return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})
