"""The composition root of the gateway."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import httpx2
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.addresses import TrustedProxies
from services.gateway.contract import Contract, contract_of
from services.gateway.contracts.registry import Parts, make_contracts
from services.gateway.domain import Client, Json
from services.gateway.endpoint import Identify, TakeRate, contract_routes, open_route
from services.gateway.events import JobEvents
from services.gateway.hosts import ContractHosts, read_contract_hosts
from services.gateway.http_server import open_http_server
from services.gateway.identity.opening import open_identity
from services.gateway.limits import Slots
from services.gateway.middleware import Cors, ErrorAnswers, RequestContext
from services.gateway.openapi.pages import page_routes
from services.gateway.peers import open_peers
from services.gateway.playback import Playback
from services.gateway.rates.rates import Rates
from services.gateway.readiness import Dependency, Readiness, list_models, peer_dependencies
from services.gateway.refusals import Answer, Told
from services.gateway.revocations import Revocations
from services.gateway.settings import GatewaySettings
from services.gateway.submissions import Submissions
from services.gateway.summaries.summaries import open_summaries
from services.gateway.traces import Traces
from services.gateway.transcripts import Transcripts
from services.mesh.api_keys import ApiKeys
from services.mesh.edge.limits import EdgeBody
from services.mesh.identity import TokenSigner, load_key
from services.mesh.lifecycle import Lifecycle
from services.mesh.telemetry import get_logger
from services.mesh.tls.certificates import Certificates, open_certificates
from services.mesh.tracing.spans import tracer_or_none

_HTTP_SECONDS = 10.0
_HTTP_CONNECTIONS = 200
# One address of guests, or of uploads by signed URL, has at most a quarter of the slots.
_UPLOAD_SHARE = 4


@asynccontextmanager
async def app(settings: GatewaySettings, lifecycle: Lifecycle) -> AsyncIterator[None]:
    """The gateway, serving until left."""
    async with AsyncExitStack() as stack:
        signer = TokenSigner(load_key(settings.identity_key_file), "gateway")
        tls = await stack.enter_async_context(open_certificates(settings))
        peers = await stack.enter_async_context(open_peers(settings, signer, tls))
        http = await stack.enter_async_context(_open_http_client(tls))
        keys = ApiKeys(peers.accounts, remember_seconds=settings.authentication_cache_seconds)
        identity = await stack.enter_async_context(open_identity(settings, keys, peers.accounts))
        await stack.enter_async_context(lifecycle.working())
        lifecycle.spawn(identity.keep_keys(lifecycle.stopping), "issuer keys")
        revocations = Revocations(settings.nats_url, keys, tls)
        lifecycle.spawn(revocations.run(lifecycle.stopping), "revocations")
        readiness = Readiness(
            {**peer_dependencies(peers), "nats": Dependency(revocations.connected, needed=False)},
            lambda: list_models(peers),
            lifecycle.leaving,
        )
        proxies = TrustedProxies(settings.trusted_proxies)
        upload_slots = Slots(settings.max_uploads, share=max(1, settings.max_uploads // _UPLOAD_SHARE))
        parts = Parts(
            settings=settings,
            peers=peers,
            http=http,
            submissions=Submissions(peers, settings, upload_slots, proxies),
            transcripts=Transcripts(
                peers.storage, http, cache_bytes=settings.transcript_cache_bytes, max_bytes=settings.max_transcript_bytes
            ),
            summaries=await stack.enter_async_context(open_summaries(settings)),
            events=JobEvents(peers.jobs, settings.keepalive_seconds, lifecycle.stopping),
            event_slots=Slots(settings.max_event_streams),
            playback=Playback(http, settings.storage_data_url),
        )

        async def identify(request: Request) -> Client:
            return await identity.resolve(request.method, request.scope["headers"])

        rates = Rates(lambda: revocations.bus, proxies, shared=settings.shared_rates)
        contracts = make_contracts(parts)
        application = make_asgi_app(
            contracts,
            readiness,
            identify,
            rates.take,
            read_contract_hosts(settings.contract_hosts),
            # In production the public port tells nothing of the inside: Prometheus has a port of its own.
            tells_metrics=settings.profile != "production",
        )
        port = await stack.enter_async_context(open_http_server(application, settings, lifecycle, edge_body(contracts)))
        get_logger("gateway.app").info("listening", host=settings.host, port=port)
        yield


def _open_http_client(tls: Certificates | None) -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=_HTTP_CONNECTIONS, max_keepalive_connections=20, keepalive_expiry=5)
    trust = tls.downloads_context() if tls else True
    return httpx2.AsyncClient(timeout=_HTTP_SECONDS, limits=limits, trust_env=False, follow_redirects=False, verify=trust)


def make_asgi_app(
    contracts: Sequence[Contract],
    readiness: Readiness,
    identify: Identify,
    take_rate: TakeRate,
    hosts: Mapping[str, str],
    *,
    tells_metrics: bool,
) -> ASGIApp:
    """Every route behind the middlewares, outermost first. The first contract refuses what belongs to none."""

    async def ready(request: Request) -> Response:
        is_ready, document = await readiness.report()
        return JSONResponse(document, 200 if is_ready else 503)

    def refuse(scope: Scope, error: Exception) -> Response:
        return contract_of(scope, contracts, contracts[0]).errors.render(scope, error)

    application = Starlette(
        routes=[
            open_route("/healthz", _healthy),
            open_route("/readyz", ready),
            *([open_route("/metrics", _metrics)] if tells_metrics else []),
            *page_routes(contracts),
            *(route for contract in contracts for route in contract_routes(contract, identify, take_rate)),
        ],
        middleware=[
            *([Middleware(Traces, tracer)] if (tracer := tracer_or_none()) else []),
            Middleware(RequestContext),
            Middleware(ContractHosts, hosts),
            Middleware(Cors),
            Middleware(ErrorAnswers, refuse),
        ],
        exception_handlers={HTTPException: lambda request, error: refuse(request.scope, error)},
    )
    application.router.redirect_slashes = False
    application.router.default = _not_found
    return application


def edge_body(contracts: Sequence[Contract]) -> EdgeBody:
    """What the contract of a path says to a request that is refused before any route sees it."""

    def body_of(path: str, status: int, code: str, sentence: str) -> Mapping[str, Json]:
        errors = contract_of({"path": path}, contracts, contracts[0]).errors
        return errors.body_of(Told(code, status, errors.answers.get(code, Answer(status, code)).code, sentence))

    return body_of


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    raise HTTPException(404)


async def _healthy(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _metrics(request: Request) -> Response:
    return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})
