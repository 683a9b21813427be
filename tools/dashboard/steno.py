"""The dashboard of Steno: what users feel first, then every service, then what they share."""

from collections.abc import Iterator

from tools.dashboard.panels import Json, Panel, Query, Row, choice_variable, dashboard, source_variable

_HERE = 'service=~"$service",instance=~"$instance"'
_API = 'route=~".+/.+"'


def document() -> Json:
    """What Grafana reads."""
    variables = [
        source_variable(),
        choice_variable("service", "Service", "label_values(steno_build_info, service)"),
        choice_variable("instance", "Instance", 'label_values(steno_build_info{service=~"$service"}, instance)'),
    ]
    return dashboard("Steno", "steno", list(rows()), variables)


def rows() -> Iterator[Row]:
    """From top to bottom."""
    yield Row("At a glance", [*_glance()])
    yield Row("Gateway: requests", [*_gateway()])
    yield Row("Jobs: queue and time", [*_jobs()])
    yield Row("Inference: throughput and batches", [*_inference()])
    yield Row("Triton", [*_triton()])
    yield Row("Billing: the ledger", [*_billing()])
    yield Row("Storage and media", [*_storage()])
    yield Row("RPCs between services", [*_rpcs()])
    yield Row("Bus and outbox", [*_bus()])
    yield Row("Databases", [*_databases()])
    yield Row("Processes", [*_processes()])


def quantiles(series: str, by: str = "", window: str = "5m") -> list[Query]:
    """Median and 99th percentile of a histogram. by: a label that keeps lines apart."""
    labels, legend = (f"le, {by}", f" {{{{{by}}}}}") if by else ("le", "")
    name, _, matchers = series.partition("{")
    selector = f"{name}_bucket" + (f"{{{matchers}" if matchers else "")
    return [
        Query(f"histogram_quantile({share}, sum by ({labels}) (rate({selector}[{window}])))", f"{title}{legend}")
        for share, title in ((0.5, "median"), (0.99, "99 %"))
    ]


def _glance() -> Iterator[Panel]:
    slow = "Submits that made a job in more than half a second; objective: 1 %."
    yield Panel("Services up", "Instances that answer Prometheus.", [Query('sum(up{job="steno"})')], kind="stat", width=4)
    yield Panel(
        "Submits failed", "Answered with 5xx in the last hour; objective: 0.1 %.", [Query("steno:submit_errors:ratio_rate1h")],
        "percentunit", "stat", 4, 0.001,
    )  # fmt: skip
    yield Panel("Submits slow", slow, [Query("steno:submit_slow:ratio_rate1h")], "percentunit", "stat", 4, 0.01)
    oldest = [Query("max by (work_class) (steno_queue_age_seconds)", "{{work_class}}")]
    yield Panel("Longest wait", "Of a job that could be worked on.", oldest, "s", "stat", 4, 900)
    yield Panel("Real-time factor", "Seconds of audio per second of work.", [Query("steno:rtfx:rate5m")], kind="stat", width=4)
    ledger = [Query("max(abs(steno_ledger_imbalance_ms)) + max(steno_ledger_wrong_accounts)")]
    yield Panel("Ledger wrong by", "Anything but 0 is a fault.", ledger, kind="stat", width=4, bad=1)


def _gateway() -> Iterator[Panel]:
    rate = [Query(f"sum by (route) (rate(steno_http_seconds_count{{{_API}}}[5m]))", "{{route}}")]
    yield Panel("Requests", "By route.", rate, "reqps")
    errors = [Query(f'sum by (route, status) (rate(steno_http_seconds_count{{{_API},status=~"5.."}}[5m]))', "{{route}} {{status}}")]
    yield Panel("Failed", "Answers with 5xx, by route.", errors, "reqps")
    yield Panel("Time", "Of requests that are no event streams.", quantiles('steno_http_seconds{route!~".*events.*"}'), "s")
    yield Panel("In flight", "Requests in hand, event streams included.", [Query("sum by (instance) (steno_http_in_flight)")])
    refused = [Query("sum by (contract, kind) (rate(steno_rate_refusals_total[5m]))", "{{contract}} {{kind}}")]
    yield Panel("Refused by rate", "Requests beyond what the plan allows.", refused, "reqps")
    yield Panel("Uploads", "Bytes of media received.", [Query("sum(rate(steno_http_upload_bytes_total[5m]))", "uploads")], "Bps")


def _jobs() -> Iterator[Panel]:
    yield Panel("Jobs in hand", "That have not ended.", [Query("max by (state) (steno_jobs)", "{{state}}")])
    yield Panel("Ended", "By how.", [Query("sum by (state) (rate(steno_jobs_ended_total[5m]))", "{{state}}")], "ops")
    ages = [
        Query("max by (work_class) (steno_queue_age_seconds)", "waits: {{work_class}}"),
        Query("max by (work_class) (steno_working_age_seconds)", "in work: {{work_class}}"),
        Query("max(steno_lease_overdue_seconds)", "lease overdue"),
    ]
    yield Panel("Oldest", "Jobs that wait or work longest.", ages, "s")
    yield Panel("Wait", "From accepted to claimed.", quantiles("steno_job_wait_seconds", window="15m"), "s")
    ended = quantiles('steno_job_seconds{state="done"}', "work_class", "15m")
    yield Panel("Accepted to done", "What a user waits for.", ended, "s")
    queue = [Query("max by (work_class) (steno_work_waiting)", "{{work_class}}")]
    yield Panel("Messages waiting", "Work on the bus that no worker has taken.", queue)


def _inference() -> Iterator[Panel]:
    factor = [
        Query("steno:rtfx:rate5m", "while busy"),
        Query("sum(rate(steno_window_audio_seconds_total[5m]))", "over all time"),
    ]
    yield Panel("Real-time factor", "Seconds of audio transcribed per second.", factor)
    busy = [Query("sum by (instance) (rate(steno_window_busy_seconds_total[5m]))", "{{instance}}")]
    yield Panel("Busy", "Share of the time in which windows were at the engine.", busy, "percentunit")
    windows = [
        Query("sum(steno_windows_in_flight)", "in flight"),
        Query("sum by (priority) (steno_windows_waiting)", "waiting: {{priority}}"),
    ]
    yield Panel("Windows", "With a turn at the engine, and waiting for one.", windows)
    yield Panel("Window time", "Of one window at the engine.", quantiles("steno_window_seconds"), "s")
    sizes = "sum by (model) (rate(steno_batch_size_sum[5m])) / sum by (model) (rate(steno_batch_size_count[5m]))"
    yield Panel(
        "Batch size", "Requests executed at once, on average.", [Query(sizes, "{{model}}"), *quantiles("steno_batch_size", "model")]
    )
    yield Panel("Stages", "Of jobs, 99th percentile.", quantiles("steno_stage_seconds", "stage", "15m")[1:], "s")
    outcomes = [Query("sum by (outcome) (rate(steno_windows_total[5m]))", "{{outcome}}")]
    yield Panel("Windows by outcome", "gap: nothing could be recognised.", outcomes, "ops")
    detected = [
        Query("sum(rate(steno_detection_audio_seconds_total[5m]))", "detection"),
        Query("sum(rate(steno_audio_seconds_total[5m]))", "jobs"),
    ]
    yield Panel("Audio finished", "Seconds of audio per second, by whole jobs.", detected)


def _triton() -> Iterator[Panel]:
    yield Panel("Models well", "1 while they answer.", [Query("min by (model) (steno_triton_model_well)", "{{model}}")], width=6)
    calls = [Query("sum by (model) (steno_triton_calls)", "{{model}}"), Query("sum(steno_triton_window_limit)", "limit of windows")]
    yield Panel("Calls in hand", "Its queue included.", calls, width=6)
    yield Panel("Call time", "Its queue included.", quantiles("steno_triton_call_seconds", "model"), "s", width=6)
    trouble = [
        Query("sum by (fault) (rate(steno_triton_retries_total[5m]))", "retry: {{fault}}"),
        Query("sum by (outcome) (rate(steno_triton_revivals_total[5m]))", "revival: {{outcome}}"),
    ]
    yield Panel("Trouble", "Calls made again, models loaded again.", trouble, "ops", width=6)
    waits = "sum by (model) (rate(nv_inference_queue_duration_us[5m])) / sum by (model) (rate(nv_inference_request_success[5m]))"
    yield Panel("Queue inside Triton", "Mean wait of a request.", [Query(waits, "{{model}}")], "µs", width=6)
    pending = [Query("sum by (model) (nv_inference_pending_request_count)", "{{model}}")]
    yield Panel("Pending inside Triton", "Requests that wait.", pending, width=6)
    yield Panel("GPU", "Share of the time in use.", [Query("nv_gpu_utilization", "{{gpu_uuid}}")], "percentunit", width=6)
    memory = [Query("nv_gpu_memory_used_bytes / nv_gpu_memory_total_bytes", "{{gpu_uuid}}")]
    yield Panel("GPU memory", "Share in use.", memory, "percentunit", width=6)


def _billing() -> Iterator[Panel]:
    wrong = [Query("max(steno_ledger_imbalance_ms)", "imbalance in ms"), Query("max(steno_ledger_wrong_accounts)", "wrong accounts")]
    yield Panel("Verifier", "Anything but 0 is a fault.", wrong, width=6)
    yield Panel("Since the last check", "Every minute.", [Query("time() - max(steno_ledger_check_time_seconds)", "age")], "s", width=6)
    holds = [
        Query("max(steno_ledger_open_holds)", "open"),
        Query("max(steno_open_holds_without_job)", "without a job"),
        Query("max(steno_ended_jobs_without_settlement)", "of ended jobs"),
    ]
    yield Panel("Holds", "Credit that is kept for jobs.", holds, width=6)
    bought = [Query("sum by (outcome) (increase(steno_checkouts_total[1h]))", "{{outcome}}")]
    yield Panel("Purchases", "Of the last hour.", bought, width=6)


def _storage() -> Iterator[Panel]:
    room = [Query("steno_store_free_bytes", "free: {{instance}}"), Query("steno_store_size_bytes", "size: {{instance}}")]
    yield Panel("Room for blobs", "Of the disk; 0 with S3.", room, "bytes", width=6)
    yield Panel("Probes", "Time to look at what arrived.", quantiles("steno_probe_seconds", "outcome"), "s", width=6)
    deaths = [Query("sum by (service, cause) (increase(steno_sandbox_deaths_total[15m]))", "{{service}}: {{cause}}")]
    yield Panel("Sandbox deaths", "Processes that died while they read media.", deaths, width=6)
    fetches = [Query("sum by (reason) (rate(steno_egress_refusals_total[5m]))", "{{reason}}")]
    yield Panel("Fetches refused", "URLs that lead to where Steno does not go, or nowhere.", fetches, "ops", width=6)


def _rpcs() -> Iterator[Panel]:
    yield Panel("Rate", "At the server.", [Query(f"sum by (method) (rate(steno_rpc_seconds_count{{{_HERE}}}[5m]))", "{{method}}")], "reqps")
    errors = [Query(f'sum by (method, code) (rate(steno_rpc_seconds_count{{{_HERE},code!="OK"}}[5m]))', "{{method}} {{code}}")]
    yield Panel("Errors", "At the server, refusals included.", errors, "reqps")
    yield Panel("Time", "At the server, 99th percentile.", quantiles(f"steno_rpc_seconds{{{_HERE}}}", "method")[1:], "s")
    asked = [Query(f"sum by (service, peer) (rate(steno_rpc_client_seconds_count{{{_HERE}}}[5m]))", "{{service}} → {{peer}}")]
    yield Panel("Calls", "At the caller.", asked, "reqps")
    failed = 'code=~"UNAVAILABLE|DEADLINE_EXCEEDED"'
    missed = [Query(f"sum by (service, peer) (rate(steno_rpc_client_seconds_count{{{_HERE},{failed}}}[5m]))", "{{service}} → {{peer}}")]
    yield Panel("Unanswered", "Calls that found nobody or waited in vain.", missed, "reqps")
    yield Panel("Time of calls", "At the caller, retries included.", quantiles(f"steno_rpc_client_seconds{{{_HERE}}}", "peer"), "s")


def _bus() -> Iterator[Panel]:
    yield Panel("Oldest event", "Committed and not published.", [Query("max by (service) (steno_outbox_age_seconds)", "{{service}}")], "s")
    yield Panel("Outbox", "Events that wait.", [Query("max by (service) (steno_outbox_depth)", "{{service}}")])
    links = [
        Query("min by (service) (steno_bus_connected)", "connected: {{service}}"),
        Query("sum by (service) (increase(steno_bus_disconnects_total[15m]))", "broken: {{service}}"),
    ]
    yield Panel("Connections to NATS", "And those that broke in a quarter of an hour.", links)
    handled = [Query("sum by (consumer, outcome) (rate(steno_bus_messages_total[5m]))", "{{consumer}} {{outcome}}")]
    yield Panel("Messages", "By what became of them.", handled, "ops")
    yield Panel("Handling", "Time of one message.", quantiles("steno_bus_handle_seconds", "consumer"), "s")
    buried = [Query('sum by (consumer) (increase(steno_bus_messages_total{outcome="dead"}[1h]))', "{{consumer}}")]
    yield Panel("Dead letters", "Of the last hour.", buried)


def _databases() -> Iterator[Panel]:
    yield Panel(
        "Transactions", "Time, the wait for the writer included.", quantiles("steno_database_transaction_seconds", "service"), "s", width=6
    )
    ended = [Query("sum by (service, outcome) (rate(steno_database_transaction_seconds_count[5m]))", "{{service}} {{outcome}}")]
    yield Panel("Commits and rollbacks", "Writing transactions.", ended, "ops", width=6)
    sizes = "sum by (service) (rate(steno_database_group_units_sum[5m])) / sum by (service) (rate(steno_database_group_units_count[5m]))"
    yield Panel("Units per commit", "Of grouped commits.", [Query(sizes, "{{service}}")], width=6)
    used = [Query("sum by (service, pool) (steno_database_connections)", "{{service}} {{pool}}")]
    yield Panel("Connections", "In use.", used, width=6)


def _processes() -> Iterator[Panel]:
    here = f'{{job="steno",{_HERE}}}'
    legend = "{{service}} {{instance}}"
    yield Panel("Processor", "Cores in use.", [Query(f"rate(process_cpu_seconds_total{here}[5m])", legend)], width=6)
    yield Panel("Memory", "Resident.", [Query(f"process_resident_memory_bytes{here}", legend)], "bytes", width=6)
    opened = [Query(f"process_open_fds{here} / process_max_fds{here}", legend)]
    yield Panel("Descriptors", "Share of what is allowed.", opened, "percentunit", width=6)
    state = [
        Query("count by (version) (steno_build_info)", "version {{version}}"),
        Query("min by (service, check) (steno_ready) == 0", "not ready: {{service}} {{check}}"),
        Query("(min by (identity) (steno_certificate_end_time_seconds) - time()) / 86400", "certificate days: {{identity}}"),
        Query("sum by (service) (increase(steno_certificates_refused_total[1h]))", "certificates refused: {{service}}"),
        Query("sum by (service, outcome) (increase(steno_spans_total[15m]))", "spans {{outcome}}: {{service}}"),
    ]
    yield Panel("Versions, readiness, certificates, spans", "What runs, and what is wrong with it.", state, width=6)
