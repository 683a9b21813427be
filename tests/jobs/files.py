"""Inference orders and their files, as owners and workers handle them."""

from typing import Any

from services.mesh.streams import event_subject
from steno.inference.v1.checkpoints_pb2 import Detections
from steno.inference.v1.inference_events_pb2 import DetectionCompleted
from steno.jobs.v1.detection_job_pb2 import InferenceFile, InferenceJob
from steno.jobs.v1.detector_pb2 import Detection
from tests.jobs.stage import Lab, Stage, claim, until
from tests.jobs.test_trainings import made_detector, put


async def new_order(mesh: Stage, lab: Lab) -> InferenceJob:
    """An order with a detector of its own."""
    return (await lab.ask("CreateInferenceJob", model_id=await made_detector(mesh, lab))).inference_job  # type: ignore[no-any-return]


async def begin(lab: Lab, order_id: str, **fields: Any) -> InferenceFile:
    """An announced file."""
    asked = {"filename": "yard.wav", "content_type": "audio/wav", "size_bytes": 1000} | fields
    return (await lab.ask("BeginInferenceFile", inference_job_id=order_id, **asked)).file  # type: ignore[no-any-return]


async def confirm(lab: Lab, file: InferenceFile) -> InferenceFile:
    """The file, once its bytes have arrived."""
    ids = {"inference_job_id": file.inference_job_id, "file_id": file.id}
    return (await lab.ask("ConfirmInferenceFile", **ids)).file  # type: ignore[no-any-return]


async def queued(lab: Lab, order_id: str) -> InferenceFile:
    """A file that waits for a worker."""
    return await confirm(lab, await begin(lab, order_id))


async def read(lab: Lab, file: InferenceFile) -> InferenceFile:
    """The file as it is now."""
    return (await lab.ask("GetInferenceFile", inference_job_id=file.inference_job_id, file_id=file.id)).file  # type: ignore[no-any-return]


async def get(lab: Lab, order_id: str) -> InferenceJob:
    """The order as it is now."""
    return (await lab.ask("GetInferenceJob", inference_job_id=order_id)).inference_job  # type: ignore[no-any-return]


def part(*starts_ms: int) -> bytes:
    """Detections that start then, as a worker puts them."""
    found = [Detection(artifact_type="hum", start_offset_ms=start, end_offset_ms=start + 10, confidence=0.75) for start in starts_ms]
    return Detections(detections=found).SerializeToString()


async def tell(mesh: Stage, job_id: str, fence: int, parts: int, *, duration_ms: int = 60_000, event_id: str = "") -> None:
    """Tells jobs that a file is done, as inference does."""
    result = DetectionCompleted(
        job_id=job_id, fence=fence, workspace_id="ws", audio_duration_ms=duration_ms, part_count=parts, engine="local"
    )
    await mesh.bus.publish(event_subject("inference", DetectionCompleted), result, event_id=event_id or f"detection:{job_id}:{fence}")


async def run(mesh: Stage, lab: Lab, file: InferenceFile, *parts: bytes, duration_ms: int = 60_000) -> InferenceFile:
    """The file, claimed and run to its end."""
    worker = await mesh.worker()
    taken = await claim(worker, file.id)
    for index, window in enumerate(parts):
        await put(worker, file.id, taken.fence, index, window)
    await tell(mesh, file.id, taken.fence, len(parts), duration_ms=duration_ms)
    await until(lambda: ended(lab, file))
    return await read(lab, file)


async def ended(lab: Lab, file: InferenceFile) -> bool:
    """Whether the file has ended."""
    return (await read(lab, file)).state in (InferenceFile.STATE_COMPLETED, InferenceFile.STATE_FAILED)
