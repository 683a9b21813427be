"""How many windows Triton executed at once, as its own statistics tell."""

from collections import Counter

from tritonclient.grpc import InferenceServerClient

from tests.e2e.mesh import Mesh, wait_for

ASK_SECONDS = 10.0
COUNTED_SECONDS = 10.0


def executed(mesh: Mesh, model: str = "whisper") -> Counter[int]:
    """How many batches of each size the model has executed since it was loaded."""
    tls = mesh.tls("inference")
    credentials = tls.channel_credentials() if tls else None
    named = [("grpc.ssl_target_name_override", "localhost")] if tls else None
    with InferenceServerClient(mesh.ready["triton"]["grpc"], ssl=tls is not None, creds=credentials, channel_args=named) as client:
        statistics = client.get_inference_statistics(model, as_json=True, client_timeout=ASK_SECONDS)
    found = statistics["model_stats"][0].get("batch_stats", [])
    return Counter({int(one["batch_size"]): int(one["compute_infer"]["count"]) for one in found})


def executed_since(before: Counter[int], mesh: Mesh, windows: int) -> Counter[int]:
    """Batches since then, once they hold so many windows: a batch is counted after its answers are sent."""

    def counted() -> Counter[int] | None:
        now = executed(mesh) - before
        return now if sum(size * count for size, count in now.items()) >= windows else None

    return wait_for(counted, COUNTED_SECONDS, f"{windows} windows to be counted")


def mean_size(batches: Counter[int]) -> float:
    """Windows per batch."""
    return sum(size * count for size, count in batches.items()) / batches.total()
