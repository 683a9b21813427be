"""Triton's own spans below those of its callers, exported to the same collector."""

from collections.abc import Iterable, Mapping

from services.mesh.tracing.export import is_on

_SERVICE = "steno-triton"
_TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
# As OpenTelemetry calls them, and Triton does in small letters.
_BATCHING = ("bsp_max_queue_size", "bsp_schedule_delay", "bsp_max_export_batch_size")


def trace_options(environment: Mapping[str, str]) -> Iterable[str]:
    """Options of tritonserver under OpenTelemetry's environment; none while tracing is off.

    Of requests that name no trace it records none: those are the ones that the caller does not record, and the watch's.
    """
    if not is_on(environment):
        return
    url = environment.get(_TRACES_ENDPOINT) or f"{environment[_ENDPOINT].rstrip('/')}/v1/traces"
    yield from ("--trace-config=mode=opentelemetry", "--trace-config=level=TIMESTAMPS", "--trace-config=rate=0")
    yield f"--trace-config=opentelemetry,url={url}"
    yield f"--trace-config=opentelemetry,resource=service.name={_SERVICE}"
    for name in _BATCHING:
        if value := environment.get(f"OTEL_{name.upper()}"):
            yield f"--trace-config=opentelemetry,{name}={value}"
