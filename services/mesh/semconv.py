"""Every metric of Steno, declared once: name, unit in the name, labels. Nothing else makes a metric."""

from prometheus_client import Counter, Gauge, Histogram

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LONG = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)

RPC_SECONDS = Histogram("steno_rpc_seconds", "Time of an RPC at the server.", ["method", "code"], buckets=_FAST)
HTTP_SECONDS = Histogram("steno_http_seconds", "Time of a request at the gateway.", ["route", "method", "status"], buckets=_FAST)
HTTP_UPLOAD_BYTES = Counter("steno_http_upload_bytes", "Bytes of media received by the gateway.")

OUTBOX_DEPTH = Gauge("steno_outbox_depth", "Events committed and not yet published.", ["service"])
OUTBOX_AGE_SECONDS = Gauge("steno_outbox_age_seconds", "Age of the oldest event not yet published.", ["service"])
BUS_MESSAGES = Counter("steno_bus_messages", "Messages handled.", ["consumer", "outcome"])
BUS_HANDLE_SECONDS = Histogram("steno_bus_handle_seconds", "Time to handle a message.", ["consumer"], buckets=_LONG)

CERTIFICATE_END_TIME_SECONDS = Gauge(
    "steno_certificate_end_time_seconds", "When the certificate of this service ends, in seconds since 1970.", ["identity"]
)
CERTIFICATES_REFUSED = Counter("steno_certificates_refused", "New certificates that could not be used, so that the old one stayed.")

LEDGER_IMBALANCE_MS = Gauge("steno_ledger_imbalance_ms", "Sum over all accounts; anything but 0 is a fault.")
LEDGER_WRONG_ACCOUNTS = Gauge("steno_ledger_wrong_accounts", "Accounts that differ from their transfers; anything but 0 is a fault.")
LEDGER_OPEN_HOLDS = Gauge("steno_ledger_open_holds", "Holds neither settled nor released.")
LEDGER_CHECK_TIME_SECONDS = Gauge("steno_ledger_check_time_seconds", "When all accounts were last checked, in seconds since 1970.")
OPEN_HOLDS_WITHOUT_JOB = Gauge("steno_open_holds_without_job", "Holds that the last look found past their time and without a job.")
ENDED_JOBS_WITHOUT_SETTLEMENT = Gauge("steno_ended_jobs_without_settlement", "Jobs that the last look found ended, their holds still open.")
CHECKOUTS = Counter("steno_checkouts", "Purchases begun, paid and given up, and payment events refused.", ["outcome"])

JOBS = Gauge("steno_jobs", "Jobs that have not ended.", ["state"])
JOBS_ENDED = Counter("steno_jobs_ended", "Jobs that reached a final state.", ["state"])
RETENTION_REFUSALS = Counter("steno_retention_refusals", "Retention sweeps that removed nothing because two clocks disagree.")
JOB_WAIT_SECONDS = Histogram("steno_job_wait_seconds", "From accepted to first claimed.", buckets=_LONG)

STORE_FREE_BYTES = Gauge("steno_store_free_bytes", "Free bytes of the disk that holds the blobs.")
PROBE_SECONDS = Histogram("steno_probe_seconds", "Time of a media probe.", ["outcome"], buckets=_FAST)

STAGE_SECONDS = Histogram("steno_stage_seconds", "Time of one pipeline stage of a job.", ["stage"], buckets=_LONG)
WINDOWS = Counter("steno_windows", "Windows by what became of them.", ["outcome"])
AUDIO_SECONDS = Counter("steno_audio_seconds", "Audio transcribed.")
DETECTION_AUDIO_SECONDS = Counter("steno_detection_audio_seconds", "Audio that detectors were run over.")
WORK_WAITING = Gauge("steno_work_waiting", "Messages of a class of work that no worker has taken.", ["work_class"])

TRITON_MODEL_WELL = Gauge("steno_triton_model_well", "1 while the model of Triton answers, else 0.", ["model"])
TRITON_CALLS = Gauge("steno_triton_calls", "Requests that Triton has in hand, its queue included.", ["model"])
TRITON_CALL_SECONDS = Histogram("steno_triton_call_seconds", "Time of a request to Triton, its queue included.", ["model"], buckets=_FAST)
TRITON_RETRIES = Counter("steno_triton_retries", "Requests to Triton that were made again, by what went wrong.", ["model", "fault"])
TRITON_REVIVALS = Counter("steno_triton_revivals", "Models that Triton was told to load again, by how that went.", ["model", "outcome"])
TRITON_WINDOW_LIMIT = Gauge("steno_triton_window_limit", "Windows that may be under way at Triton at once.")
