"""Detectors: read, listed, changed and deleted by their owner alone."""

from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from steno.jobs.v1.detector_pb2 import Detector
from tests.jobs.conftest import StageFactory
from tests.jobs.stage import Lab, until
from tests.jobs.test_access import refusal
from tests.jobs.test_trainings import made_detector


async def update(lab: Lab, detector_id: str, *paths: str, **values: Any) -> Detector:
    """The detector with these values, where the mask says so."""
    asked = Detector(id=detector_id, **values)
    return (await lab.ask("UpdateDetector", detector=asked, update_mask=FieldMask(paths=paths))).detector  # type: ignore[no-any-return]


async def test_detectors_change_where_the_mask_says_so(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        detector_id = await made_detector(mesh, lab)
        before = (await lab.ask("GetDetector", model_id=detector_id)).detector
        renamed = await update(lab, detector_id, "name", name=" Barn ", description="ignored", is_active=False)
        assert (renamed.name, renamed.description, renamed.is_active) == ("Barn", "", True)
        changed = await update(lab, detector_id, "description", "is_active", description="for barns")
        assert (changed.name, changed.description, changed.is_active) == ("Barn", "for barns", False)
        assert (changed.eval_metrics, changed.create_time) == (before.eval_metrics, before.create_time)
        assert await update(lab, detector_id) == changed == (await lab.ask("GetDetector", model_id=detector_id)).detector


async def test_wrong_changes_are_refused(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        detector_id = await made_detector(mesh, lab)
        for path, value in (("name", " "), ("name", "x" * 256), ("name", "a\0b"), ("description", "x" * 2001), ("artefact_id", "other")):
            refused = await refusal(update(lab, detector_id, path, **{path: value}))
            assert refused.reason_name == "INVALID_FIELD", path
        assert len((await update(lab, detector_id, "name", name="x" * 255)).name) == 255


async def test_lists_are_newest_first_and_told_apart_by_activity(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        ids = [await made_detector(mesh, lab) for _ in range(3)]
        await update(lab, ids[1], "is_active", is_active=False)
        pages = [await lab.ask("ListDetectors", page=page, page_size=2) for page in (1, 2)]
        assert [[item.id for item in page.detectors] for page in pages] == [[ids[2], ids[1]], [ids[0]]]
        assert {page.total_size for page in pages} == {3}
        for is_active, expected in ((True, [ids[2], ids[0]]), (False, [ids[1]])):
            found = await lab.ask("ListDetectors", is_active=is_active)
            assert ([item.id for item in found.detectors], found.total_size) == (expected, len(expected))
        assert (await refusal(lab.ask("ListDetectors", page_size=101))).reason_name == "INVALID_FIELD"


async def test_detectors_are_their_owners_alone(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        detector_id = await made_detector(mesh, lab)
        for other in (await mesh.lab("other"), await mesh.lab(owner="user:u")):
            calls = (
                other.ask("GetDetector", model_id=detector_id),
                update(other, detector_id, "name", name="mine"),
                other.ask("DeleteDetector", model_id=detector_id),
                other.ask("CreateInferenceJob", model_id=detector_id),
            )
            for call in calls:
                assert (await refusal(call)).reason_name == "MODEL_NOT_FOUND"
            assert (await other.ask("ListDetectors")).total_size == 0
        guests = Lab(lab.stub, (await mesh.guest()).caller)
        assert (await refusal(guests.ask("ListDetectors"))).reason_name == "AUTHENTICATION_REQUIRED"
        assert (await lab.ask("GetDetector", model_id=detector_id)).detector.name == "Yard v3"


async def test_deleted_detector_takes_its_bytes_along(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        detector_id = await made_detector(mesh, lab)
        assert mesh.storage.artefacts
        await lab.ask("DeleteDetector", model_id=detector_id)
        for method in ("GetDetector", "DeleteDetector"):
            assert (await refusal(lab.ask(method, model_id=detector_id))).reason_name == "MODEL_NOT_FOUND"
        await until(lambda: not mesh.storage.artefacts, "the bytes of the detector stayed")
        [training] = (await lab.ask("ListTrainingJobs")).training_jobs
        assert training.model_id == detector_id, "what it made is remembered"
