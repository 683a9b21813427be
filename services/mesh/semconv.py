"""Every metric of Steno, declared once: name, unit in the name, labels. Nothing else makes a metric.

Labels are names from the code, never ids. docs/monitoring.md has the table, written by `python -m tools.metrics_table`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LONG = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_DAYS = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)

BUILD_INFO = Gauge("steno_build_info", "1, with the version that runs.", ["service", "version"])
READY = Gauge("steno_ready", "1 while what the service depends on passes its check, else 0.", ["check"])
CERTIFICATE_END_TIME_SECONDS = Gauge(
    "steno_certificate_end_time_seconds", "When the certificate of this service ends, in seconds since 1970.", ["identity"]
)
CERTIFICATES_REFUSED = Counter("steno_certificates_refused", "New certificates that could not be used, so that the old one stayed.")

RPC_SECONDS = Histogram("steno_rpc_seconds", "Time of an RPC at the server.", ["method", "code"], buckets=_FAST)
RPC_CLIENT_SECONDS = Histogram(
    "steno_rpc_client_seconds", "Time of an RPC at its caller, retries included.", ["peer", "method", "code"], buckets=_FAST
)
HTTP_SECONDS = Histogram("steno_http_seconds", "Time of a request at the gateway.", ["route", "method", "status"], buckets=_FAST)
HTTP_IN_FLIGHT = Gauge("steno_http_in_flight", "Requests that the gateway has in hand, event streams included.")
HTTP_UPLOAD_BYTES = Counter("steno_http_upload_bytes", "Bytes of media received by the gateway.")
RATE_REFUSALS = Counter("steno_rate_refusals", "Requests refused because the plan allows no more in this minute.", ["contract", "kind"])
EGRESS_REFUSALS = Counter("steno_egress_refusals", "Fetches from the outside that were not made or not finished.", ["reason"])

DATABASE_TRANSACTION_SECONDS = Histogram(
    "steno_database_transaction_seconds",
    "Time of a writing transaction, its wait for the writer included.",
    ["service", "outcome"],
    buckets=_FAST,
)
DATABASE_GROUP_UNITS = Histogram("steno_database_group_units", "Units of work that shared one commit.", ["service"], buckets=_COUNTS)
DATABASE_CONNECTIONS = Gauge("steno_database_connections", "Connections in use.", ["service", "pool"])

OUTBOX_DEPTH = Gauge("steno_outbox_depth", "Events committed and not yet published.", ["service"])
OUTBOX_AGE_SECONDS = Gauge("steno_outbox_age_seconds", "Age of the oldest event not yet published.", ["service"])
BUS_CONNECTED = Gauge("steno_bus_connected", "1 while the connection to NATS is up, else 0.", ["service"])
BUS_DISCONNECTS = Counter("steno_bus_disconnects", "Connections to NATS that broke.", ["service"])
BUS_MESSAGES = Counter("steno_bus_messages", "Messages handled; dead: sent to the dead letters.", ["consumer", "outcome"])
BUS_HANDLE_SECONDS = Histogram("steno_bus_handle_seconds", "Time to handle a message.", ["consumer"], buckets=_LONG)
SPANS = Counter("steno_spans", "Spans of traces, sent to their collector and lost.", ["outcome"])


LEDGER_IMBALANCE_MS = Gauge("steno_ledger_imbalance_ms", "Sum over all accounts; anything but 0 is a fault.")
LEDGER_WRONG_ACCOUNTS = Gauge("steno_ledger_wrong_accounts", "Accounts that differ from their transfers; anything but 0 is a fault.")
LEDGER_OPEN_HOLDS = Gauge("steno_ledger_open_holds", "Holds neither settled nor released.")
LEDGER_CHECK_TIME_SECONDS = Gauge("steno_ledger_check_time_seconds", "When all accounts were last checked, in seconds since 1970.")
CHECKOUTS = Counter("steno_checkouts", "Purchases begun, paid and given up, and payment events refused.", ["outcome"])

OPEN_HOLDS_WITHOUT_JOB = Gauge("steno_open_holds_without_job", "Holds that the last look found past their time and without a job.")
ENDED_JOBS_WITHOUT_SETTLEMENT = Gauge("steno_ended_jobs_without_settlement", "Jobs that the last look found ended, their holds still open.")
JOBS = Gauge("steno_jobs", "Jobs that have not ended.", ["state"])
JOBS_ENDED = Counter("steno_jobs_ended", "Jobs that reached a final state.", ["state"])
JOB_WAIT_SECONDS = Histogram("steno_job_wait_seconds", "From accepted to first claimed.", buckets=_LONG)
JOB_SECONDS = Histogram("steno_job_seconds", "From accepted to ended.", ["work_class", "state"], buckets=_DAYS)
QUEUE_AGE_SECONDS = Gauge(
    "steno_queue_age_seconds", "How long the job that waits longest could have been worked on; 0 when none waits.", ["work_class"]
)
WORKING_AGE_SECONDS = Gauge(
    "steno_working_age_seconds", "How long ago the oldest job in work was first claimed; 0 when there is none.", ["work_class"]
)
LEASE_OVERDUE_SECONDS = Gauge("steno_lease_overdue_seconds", "How long the lease of a job in work has run out; 0 when none has.")
RETENTION_REFUSALS = Counter("steno_retention_refusals", "Retention sweeps that removed nothing because two clocks disagree.")

STORE_FREE_BYTES = Gauge("steno_store_free_bytes", "Free bytes of the disk that holds the blobs; 0 with S3.")
STORE_SIZE_BYTES = Gauge("steno_store_size_bytes", "Size of the disk that holds the blobs; 0 with S3.")
PROBE_SECONDS = Histogram("steno_probe_seconds", "Time of a media probe.", ["outcome"], buckets=_FAST)
SANDBOX_DEATHS = Counter("steno_sandbox_deaths", "Processes that died or were ended while they read media.", ["cause"])

STAGE_SECONDS = Histogram("steno_stage_seconds", "Time of one pipeline stage of a job.", ["stage"], buckets=_LONG)
WINDOWS = Counter("steno_windows", "Windows by what became of them.", ["outcome"])
WINDOWS_IN_FLIGHT = Gauge("steno_windows_in_flight", "Windows that have a turn at the engine.")
WINDOWS_WAITING = Gauge("steno_windows_waiting", "Windows that wait for a turn at the engine.", ["priority"])
WINDOW_SECONDS = Histogram("steno_window_seconds", "Time of one window at the engine.", buckets=_LONG)
WINDOW_AUDIO_SECONDS = Counter("steno_window_audio_seconds", "Audio of the windows that the engine finished.")
WINDOW_BUSY_SECONDS = Counter("steno_window_busy_seconds", "Time during which at least one window had a turn at the engine.")
BATCH_SIZE = Histogram("steno_batch_size", "Requests that a model executed at once.", ["model"], buckets=_COUNTS)
AUDIO_SECONDS = Counter("steno_audio_seconds", "Audio transcribed.")
DETECTION_AUDIO_SECONDS = Counter("steno_detection_audio_seconds", "Audio that detectors were run over.")
WORK_WAITING = Gauge("steno_work_waiting", "Messages of a class of work that no worker has taken.", ["work_class"])

TRITON_MODEL_WELL = Gauge("steno_triton_model_well", "1 while the model of Triton answers, else 0.", ["model"])
TRITON_CALLS = Gauge("steno_triton_calls", "Requests that Triton has in hand, its queue included.", ["model"])
TRITON_CALL_SECONDS = Histogram("steno_triton_call_seconds", "Time of a request to Triton, its queue included.", ["model"], buckets=_FAST)
TRITON_RETRIES = Counter("steno_triton_retries", "Requests to Triton that were made again, by what went wrong.", ["model", "fault"])
TRITON_REVIVALS = Counter("steno_triton_revivals", "Models that Triton was told to load again, by how that went.", ["model", "outcome"])
TRITON_WINDOW_LIMIT = Gauge("steno_triton_window_limit", "Windows that may be under way at Triton at once.")

# What is in no row, every service exposes.
OF_SERVICE: Mapping[str, tuple[MetricWrapperBase, ...]] = MappingProxyType(
    {
        "gateway": (HTTP_SECONDS, HTTP_IN_FLIGHT, HTTP_UPLOAD_BYTES, RATE_REFUSALS),
        "billing": (LEDGER_IMBALANCE_MS, LEDGER_WRONG_ACCOUNTS, LEDGER_OPEN_HOLDS, LEDGER_CHECK_TIME_SECONDS, CHECKOUTS),
        "jobs": (
            OPEN_HOLDS_WITHOUT_JOB,
            ENDED_JOBS_WITHOUT_SETTLEMENT,
            JOBS,
            JOBS_ENDED,
            JOB_WAIT_SECONDS,
            JOB_SECONDS,
            QUEUE_AGE_SECONDS,
            WORKING_AGE_SECONDS,
            LEASE_OVERDUE_SECONDS,
            RETENTION_REFUSALS,
        ),
        "storage": (STORE_FREE_BYTES, STORE_SIZE_BYTES, PROBE_SECONDS, SANDBOX_DEATHS),
        "inference": (
            SANDBOX_DEATHS,
            STAGE_SECONDS,
            WINDOWS,
            WINDOWS_IN_FLIGHT,
            WINDOWS_WAITING,
            WINDOW_SECONDS,
            WINDOW_AUDIO_SECONDS,
            WINDOW_BUSY_SECONDS,
            BATCH_SIZE,
            AUDIO_SECONDS,
            DETECTION_AUDIO_SECONDS,
            WORK_WAITING,
            TRITON_MODEL_WELL,
            TRITON_CALLS,
            TRITON_CALL_SECONDS,
            TRITON_RETRIES,
            TRITON_REVIVALS,
            TRITON_WINDOW_LIMIT,
        ),
    }
)


def withhold_others(service: str, registry: CollectorRegistry) -> None:
    """Take from the registry what only other services know: a gauge nobody sets would say 0, as if it had been looked at."""
    own = OF_SERVICE.get(service, ())
    for metric in {metric for metrics in OF_SERVICE.values() for metric in metrics}.difference(own):
        registry.unregister(metric)


class Attribute:
    """What spans say: OpenTelemetry's names, and ours below `steno.`. Ids, names and numbers only; docs/tracing.md has the table."""

    HTTP_METHOD = "http.request.method"
    HTTP_ROUTE = "http.route"
    HTTP_STATUS = "http.response.status_code"
    RPC_SYSTEM = "rpc.system"
    RPC_SERVICE = "rpc.service"
    RPC_METHOD = "rpc.method"
    RPC_CODE = "rpc.grpc.status_code"
    PEER = "peer.service"
    MESSAGING_SYSTEM = "messaging.system"
    MESSAGING_OPERATION = "messaging.operation.type"
    MESSAGING_DESTINATION = "messaging.destination.name"
    MESSAGING_CONSUMER = "messaging.consumer.group.name"
    MESSAGING_ID = "messaging.message.id"
    ERROR_TYPE = "error.type"
    REQUEST_ID = "steno.request.id"
    WORKSPACE_ID = "steno.workspace.id"
    JOB_ID = "steno.job.id"
    DELIVERIES = "steno.message.deliveries"
    OUTCOME = "steno.message.outcome"
    MODEL = "steno.model"
    WINDOW = "steno.window.index"


class Step:
    """Names of the spans inside a service; those of requests, calls and messages are made from what is asked for."""

    FETCH = "fetch media"
    DOWNLOAD = "download"
    DECODE = "decode"
    SPEECH = "find speech"
    WINDOWS = "transcribe"
    WINDOW = "transcribe window"
    SPEAKERS = "tell speakers apart"
    FEATURES = "compute features"
    SCORES = "run detector"
    SETTLE = "settle"
