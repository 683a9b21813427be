"""A trained detector is served by Triton, which goes on with everything else meanwhile."""

from pathlib import Path

import pytest
from tritonclient.grpc import InferenceServerClient

from tests.e2e.detection import assert_heard, tell_story, unheard_file
from tests.e2e.mesh import SAMPLES, Mesh

pytestmark = pytest.mark.timeout(600)


def loaded(mesh: Mesh) -> dict[str, str]:
    """Models of Triton's repository with their states."""
    with InferenceServerClient(mesh.ready["triton"]["grpc"]) as client:
        index = client.get_model_repository_index(as_json=True, client_timeout=10.0).get("models", [])
    return {model["name"]: model.get("state", "") for model in index}


def test_trained_detector_is_loaded_and_searches_while_transcriptions_go_on(on_triton: Mesh, tmp_path: Path) -> None:
    before = loaded(on_triton)
    story = tell_story(on_triton, tmp_path / "calls")
    name = f"detector-{story.model['id']}"
    assert name not in before
    jobs = [on_triton.submitted(SAMPLES / "clips" / "hello.flac") for _ in range(3)]
    order = story.relay.searched(story.model["id"], unheard_file(tmp_path / "unheard"))
    assert order["status"] == "completed", order
    assert_heard(order["files"][0]["detections"])
    assert loaded(on_triton) == {**before, name: "READY"}
    assert {on_triton.finished(job)["status"] for job in jobs} == {"done"}
