"""Inference orders: files announced, confirmed, run and charged; the order's state is that of its files."""

import asyncio
from functools import partial
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from services.mesh.errors import FailedPrecondition, InvalidArgument
from services.mesh.ids import new_id
from steno.billing.v1.ledger_pb2 import Hold
from steno.billing.v1.workspace_pb2 import Plan
from steno.jobs.v1 import detection_job_pb2 as states
from steno.jobs.v1.detection_job_pb2 import InferenceFile
from steno.jobs.v1.detector_pb2 import Detector, InferenceConfig
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_events_pb2 import JobCancelled, JobFailed, JobSucceeded, WorkDispatched
from tests.jobs.conftest import StageFactory
from tests.jobs.files import begin, confirm, ended, get, new_order, part, queued, read, run, tell
from tests.jobs.stage import Lab, claim, until
from tests.jobs.test_access import refusal
from tests.jobs.test_trainings import made_detector, put

RUN = states.DETECTION_STATE_RUNNING


class BrokenMedia(InvalidArgument):
    """The right kind of file, but nothing in it decodes."""


class MediaTooLong(InvalidArgument):
    """The file holds more audio than allowed."""


class UploadIncomplete(FailedPrecondition):
    """The announced bytes have not all arrived."""


async def test_file_runs_from_its_announcement_to_its_detections(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, worker = await mesh.lab(), await mesh.worker()
        order = await new_order(mesh, lab)
        assert (order.state, order.file_count, order.config.threshold) == (states.DETECTION_STATE_PENDING, 0, 0.5)
        assert (order.config.merge_window_ms, order.config.min_duration_ms) == (200, 50)
        announced = await begin(lab, order.id, size_bytes=1234)
        assert (announced.state, announced.original_filename) == (InferenceFile.STATE_PENDING, "yard.wav")
        [form] = mesh.storage.forms
        assert (form.media_id, form.content_type) == (announced.media_id, "audio/wav")
        assert (form.min_size_bytes, form.max_size_bytes) == (1234, 1234)
        assert (await get(lab, order.id)).state == states.DETECTION_STATE_PENDING
        file = await confirm(lab, announced)
        assert (file.state, file.duration_ms) == (InferenceFile.STATE_QUEUED, 60_000)
        assert (await get(lab, order.id)).state == RUN
        await until(lambda: mesh.told_of(WorkDispatched, file.id))
        taken = await claim(worker, file.id)
        detector = (await lab.ask("GetDetector", model_id=order.model_id)).detector
        task = taken.job.detection
        assert (taken.job.kind, taken.job.media_id) == (Job.KIND_DETECTION, file.media_id)
        assert (task.inference_job_id, task.model_id, task.detector_artefact_id) == (order.id, detector.id, detector.artefact_id)
        assert task.config == order.config
        assert (await read(lab, file)).state == InferenceFile.STATE_PROCESSING
        for index, window in enumerate((part(0, 100), part(200))):
            await put(worker, file.id, taken.fence, index, window)
        for event_id in ("once", "again"):
            await tell(mesh, file.id, taken.fence, 2, event_id=event_id)
        await until(lambda: ended(lab, file))
        done = await read(lab, file)
        assert ([item.start_offset_ms for item in done.detections], done.detection_count) == ([0, 100, 200], 3)
        assert done.HasField("process_time")
        whole = await get(lab, order.id)
        assert (whole.state, whole.file_count, whole.processed_file_count, whole.failed_file_count) == (3, 1, 1, 0)
        assert (whole.detection_count, list(whole.files)) == (3, [done])
        assert whole.HasField("complete_time")
        [listed] = (await lab.ask("ListInferenceJobs")).inference_jobs
        assert (listed.detection_count, list(listed.files)) == (3, [])


async def test_files_reserve_and_settle_their_share_rounded_up(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        order = await new_order(mesh, lab)
        mesh.storage.duration_ms = 60_001
        for decoded_ms, billable_ms in ((59_999, 15_000), (60_005, 15_001), (0, 1)):
            file = await queued(lab, order.id)
            assert mesh.billing.holds[file.id].amount_ms == 15_001, "a quarter, by the rate of a plan that names none"
            await run(mesh, lab, file, duration_ms=decoded_ms)
            await until(partial(mesh.told_of, JobSucceeded, file.id))
            assert [event.billable_ms for event in mesh.told_of(JobSucceeded, file.id)] == [billable_ms]


async def test_rate_is_that_of_the_plan_when_the_file_was_announced(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        order = await new_order(mesh, lab)
        mesh.billing.plans["ws"] = Plan(name="half", retention_days=3, detection_rate_percent=50)
        announced = await begin(lab, order.id)
        mesh.billing.plans["ws"] = Plan(name="free", retention_days=3, detection_rate_percent=0)
        file = await confirm(lab, announced)
        assert mesh.billing.holds[file.id].amount_ms == 30_000
        await run(mesh, lab, file)
        await until(lambda: mesh.told_of(JobSucceeded, file.id))
        assert mesh.told_of(JobSucceeded, file.id)[0].billable_ms == 30_000


async def test_free_detection_needs_no_credit_and_billing_hears_nothing(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, owner = await mesh.lab(), await mesh.owner()
        order = await new_order(mesh, lab)
        mesh.billing.plans["ws"] = Plan(name="free", retention_days=3, detection_rate_percent=0)
        mesh.billing.credit_ms["ws"] = 0
        done = await run(mesh, lab, await queued(lab, order.id), part(1))
        assert done.state == InferenceFile.STATE_COMPLETED
        mesh.billing.credit_ms["ws"] = 1_000_000
        await owner.cancel((await owner.create(mesh.storage.add_media("ws"))).job.id)
        await until(lambda: [event for event in mesh.told if isinstance(event, JobCancelled)])
        assert not mesh.told_of(JobSucceeded, done.id)
        assert done.id not in mesh.billing.holds


async def test_without_credit_files_are_refused_and_end(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        order = await new_order(mesh, lab)
        announced = await begin(lab, order.id)
        mesh.billing.credit_ms["ws"] = 0
        assert (await refusal(begin(lab, order.id))).reason_name == "NO_CREDITS"
        mesh.billing.credit_ms["ws"] = 10
        assert (await refusal(confirm(lab, announced))).reason_name == "NO_CREDITS"
        failed = await confirm(lab, announced)
        assert (failed.state, failed.error.reason) == (InferenceFile.STATE_FAILED, "NO_CREDITS")


async def test_bytes_that_are_no_audio_fail_their_file_alone(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        order = await new_order(mesh, lab)
        good, bad, long = [await begin(lab, order.id) for _ in range(3)]
        mesh.storage.commit_error = BrokenMedia()
        failed = await confirm(lab, bad)
        assert (failed.state, failed.error.reason) == (InferenceFile.STATE_FAILED, "BROKEN_MEDIA")
        mesh.storage.commit_error = MediaTooLong()
        assert (await refusal(confirm(lab, long))).reason_name == "MEDIA_TOO_LONG"
        assert (await read(lab, long)).state == InferenceFile.STATE_FAILED
        mesh.storage.commit_error = UploadIncomplete()
        assert (await refusal(confirm(lab, good))).reason_name == "UPLOAD_INCOMPLETE"
        mesh.storage.commit_error = None
        assert (await get(lab, order.id)).state == RUN
        await run(mesh, lab, await confirm(lab, good))
        whole = await get(lab, order.id)
        assert (whole.state, whole.processed_file_count, whole.failed_file_count) == (states.DETECTION_STATE_COMPLETED, 1, 2)
        await until(lambda: mesh.told_of(JobFailed, bad.id))
        assert mesh.told_of(JobFailed, bad.id)[0].without_media


async def test_order_fails_when_all_its_files_do_and_runs_again_with_another(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, worker = await mesh.lab(), await mesh.worker()
        order = await new_order(mesh, lab)
        file = await queued(lab, order.id)
        taken = await claim(worker, file.id)
        await mesh.fail(file.id, taken.fence, retryable=False, reason="DETECTION_FAILED")
        await until(lambda: ended(lab, file))
        whole = await get(lab, order.id)
        assert (whole.state, whole.error.reason) == (states.DETECTION_STATE_FAILED, "DETECTION_FAILED")
        await until(lambda: mesh.told_of(JobFailed, file.id))
        assert (await refusal(lab.ask("CancelInferenceJob", inference_job_id=order.id))).reason_name == "JOB_ALREADY_ENDED"
        await begin(lab, order.id)
        again = await get(lab, order.id)
        assert (again.state, again.HasField("complete_time"), again.HasField("error")) == (RUN, False, False)


async def test_confirming_many_times_at_once_queues_a_file_once(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        announced = await begin(lab, (await new_order(mesh, lab)).id)
        answers = await asyncio.gather(*(confirm(lab, announced) for _ in range(10)))
        assert {answer.state for answer in answers} <= {InferenceFile.STATE_QUEUED, InferenceFile.STATE_PROCESSING}
        assert mesh.billing.in_state(Hold.STATE_OPEN) == [announced.id]


async def test_files_past_the_limits_are_refused(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        order = await new_order(mesh, lab)
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"filename": ""}, "INVALID_FIELD"),
            ({"filename": "x" * 256}, "INVALID_FIELD"),
            ({"size_bytes": 0}, "INVALID_FIELD"),
            ({"size_bytes": 500 * 1024**2 + 1}, "MEDIA_TOO_LARGE"),
            ({"content_type": "text/plain"}, "UNSUPPORTED_MEDIA"),
            ({"content_type": ""}, "UNSUPPORTED_MEDIA"),
        ]
        for fields, reason in wrong:
            assert (await refusal(begin(lab, order.id, **fields))).reason_name == reason, fields
        assert (await begin(lab, order.id, size_bytes=500 * 1024**2, content_type="audio/MP4; codecs=mp4a")).id
        mesh.billing.plans["ws"] = Plan(name="small", retention_days=3, max_upload_bytes=999)
        assert (await refusal(begin(lab, order.id))).reason_name == "MEDIA_TOO_LARGE"
        assert len(mesh.storage.uploads) == 1, "refused files leave nothing announced"


async def test_ranges_of_an_order_are_refused_by_name(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        detector_id = await made_detector(mesh, lab)
        wrong: list[tuple[str, float]] = [("threshold", -0.1), ("threshold", 1.1), ("threshold", float("nan"))]
        wrong += [("merge_window_ms", -1), ("merge_window_ms", 5001), ("min_duration_ms", -1), ("min_duration_ms", 1001)]
        for field, value in wrong:
            config = InferenceConfig()
            setattr(config, field, value)
            refused = await refusal(lab.ask("CreateInferenceJob", model_id=detector_id, config=config))
            assert (refused.reason_name, refused.metadata["field"]) == ("INVALID_FIELD", f"config.{field}")
        for threshold, merge_window_ms, min_duration_ms in ((0.0, 0, 0), (1.0, 5000, 1000)):
            config = InferenceConfig(threshold=threshold, merge_window_ms=merge_window_ms, min_duration_ms=min_duration_ms)
            made = await lab.ask("CreateInferenceJob", model_id=detector_id, config=config)
            assert made.inference_job.config == config, "0 is no default here"


async def test_inactive_detectors_refuse_orders_and_files(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        order = await new_order(mesh, lab)
        off = {"detector": Detector(id=order.model_id), "update_mask": FieldMask(paths=["is_active"])}
        await lab.ask("UpdateDetector", **off)
        assert (await refusal(lab.ask("CreateInferenceJob", model_id=order.model_id))).reason_name == "MODEL_INACTIVE"
        assert (await refusal(begin(lab, order.id))).reason_name == "MODEL_INACTIVE"
        assert (await refusal(lab.ask("CreateInferenceJob", model_id=new_id()))).reason_name == "MODEL_NOT_FOUND"


async def test_detectors_are_not_deleted_while_files_wait_for_them(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        order = await new_order(mesh, lab)
        announced = await begin(lab, order.id)
        assert (await refusal(lab.ask("DeleteDetector", model_id=order.model_id))).reason_name == "MODEL_IN_USE"
        file = await confirm(lab, announced)
        assert (await refusal(lab.ask("DeleteDetector", model_id=order.model_id))).reason_name == "MODEL_IN_USE"
        await run(mesh, lab, file, part(5))
        await lab.ask("DeleteDetector", model_id=order.model_id)
        assert (await read(lab, file)).detection_count == 1, "what it found stays"
        assert (await refusal(begin(lab, order.id))).reason_name == "MODEL_NOT_FOUND"


async def test_cancelled_order_ends_its_files_and_gives_their_holds_back(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, worker = await mesh.lab(), await mesh.worker()
        order = await new_order(mesh, lab)
        done = await run(mesh, lab, await queued(lab, order.id), part(1))
        waiting, working, announced = await queued(lab, order.id), await queued(lab, order.id), await begin(lab, order.id)
        taken = await claim(worker, working.id)
        await put(worker, working.id, taken.fence, 0, part(1))
        cancelled = (await lab.ask("CancelInferenceJob", inference_job_id=order.id)).inference_job
        assert (cancelled.state, cancelled.processed_file_count, cancelled.failed_file_count) == (5, 1, 3)
        assert cancelled.HasField("complete_time")
        assert await read(lab, done) == done, "files that had ended stay as they are"
        for file in (waiting, working, announced):
            gone = await read(lab, file)
            assert (gone.state, gone.error.reason, gone.detection_count) == (InferenceFile.STATE_FAILED, "JOB_ALREADY_ENDED", 0)
            await until(partial(mesh.told_of, JobCancelled, file.id))
            assert mesh.told_of(JobCancelled, file.id)[0].without_media == (file.id == announced.id)
        assert (await refusal(put(worker, working.id, taken.fence, 1, part(2)))).reason_name == "STALE_FENCE"
        kept = {("ws", done.media_id)}
        await until(lambda: set(mesh.storage.media) == kept and not mesh.storage.uploads, "media of the cancelled files stayed")
        for call in (lab.ask("CancelInferenceJob", inference_job_id=order.id), begin(lab, order.id), confirm(lab, announced)):
            assert (await refusal(call)).reason_name == "JOB_ALREADY_ENDED"
        assert (await get(lab, order.id)).state == states.DETECTION_STATE_CANCELLED


async def test_overtaken_claim_ends_no_file(stage: StageFactory) -> None:
    async with stage(lease_seconds=0.5) as mesh, mesh.jobs():
        lab, worker = await mesh.lab(), await mesh.worker()
        file = await queued(lab, (await new_order(mesh, lab)).id)
        first = await claim(worker, file.id)
        await put(worker, file.id, first.fence, 0, part(1, 2, 3))

        async def free() -> bool:
            return (await read(lab, file)).state == InferenceFile.STATE_QUEUED

        await until(free, "the lease never ran out")
        await tell(mesh, file.id, first.fence - 1, 1)
        await tell(mesh, file.id, first.fence + 1, 1)
        await tell(mesh, file.id, first.fence, 1)
        await until(lambda: ended(lab, file))
        assert (await read(lab, file)).detection_count == 3, "a claim counts until the next one"


async def test_file_whose_parts_are_missing_fails(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, worker = await mesh.lab(), await mesh.worker()
        file = await queued(lab, (await new_order(mesh, lab)).id)
        taken = await claim(worker, file.id)
        for index, window in ((64, part(1)), (0, b"\xff\xff")):
            assert (await refusal(put(worker, file.id, taken.fence, index, window))).reason_name == "INVALID_FIELD"
        await put(worker, file.id, taken.fence, 1, part(1))
        await tell(mesh, file.id, taken.fence, 2)
        await until(lambda: ended(lab, file))
        assert (await read(lab, file)).error.reason == "DETECTION_FAILED"


async def test_detections_that_do_not_fit_an_answer_are_counted_all_the_same(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        order = await new_order(mesh, lab)
        large = [part(*range(start, start + 30_000)) for start in range(0, 150_000, 30_000)]
        assert sum(map(len, large)) > 3 * 2**20
        big = await run(mesh, lab, await queued(lab, order.id), *large)
        small = await run(mesh, lab, await queued(lab, order.id), part(7))
        assert big.detection_count == 150_000
        assert [item.start_offset_ms for item in big.detections] == list(range(len(big.detections)))
        assert 30_000 <= len(big.detections) < 150_000
        files = {file.id: file for file in (await get(lab, order.id)).files}
        assert (len(files[big.id].detections), files[big.id].detection_count) == (0, 150_000)
        assert len(files[small.id].detections) == 1


async def test_orders_and_files_are_their_owners_alone(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, owner = await mesh.lab(), await mesh.owner()
        order = await new_order(mesh, lab)
        file = await queued(lab, order.id)
        ids = {"inference_job_id": order.id, "file_id": file.id}
        calls = ("ConfirmInferenceFile", "GetInferenceFile", "SignInferenceFileUrl")
        for other in (await mesh.lab("other"), await mesh.lab(owner="user:u")):
            for method in calls:
                assert (await refusal(other.ask(method, **ids))).reason_name == "INFERENCE_JOB_NOT_FOUND"
            for method in ("GetInferenceJob", "CancelInferenceJob"):
                assert (await refusal(other.ask(method, inference_job_id=order.id))).reason_name == "INFERENCE_JOB_NOT_FOUND"
            assert (await refusal(begin(other, order.id))).reason_name == "INFERENCE_JOB_NOT_FOUND"
            assert (await other.ask("ListInferenceJobs")).total_size == 0
        second = await new_order(mesh, lab)
        for method in calls:
            foreign = {"inference_job_id": second.id, "file_id": file.id}
            assert (await refusal(lab.ask(method, **foreign))).reason_name == "FILE_NOT_FOUND"
        guests = Lab(lab.stub, (await mesh.guest()).caller)
        assert (await refusal(guests.ask("GetInferenceFile", **ids))).reason_name == "AUTHENTICATION_REQUIRED"
        assert (await refusal(owner.get(file.id))).reason_name == "JOB_NOT_FOUND"
        assert (await refusal(owner.complete(file.id))).reason_name == "JOB_NOT_FOUND"
        assert (await owner.list()).total_size == 0


async def test_bytes_of_a_file_can_be_read_once_they_are_there(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        announced = await begin(lab, (await new_order(mesh, lab)).id)
        ids = {"inference_job_id": announced.inference_job_id, "file_id": announced.id}
        assert (await refusal(lab.ask("SignInferenceFileUrl", **ids))).reason_name == "UPLOAD_INCOMPLETE"
        await confirm(lab, announced)
        signed = (await lab.ask("SignInferenceFileUrl", **ids)).download_url
        assert signed.url == f"http://storage/{announced.media_id}"
        mesh.storage.media.clear()
        assert (await refusal(lab.ask("SignInferenceFileUrl", **ids))).reason_name == "FILE_NOT_FOUND"


async def test_pages_of_orders_are_newest_first(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        detector_id = await made_detector(mesh, lab)
        made = [(await lab.ask("CreateInferenceJob", model_id=detector_id)).inference_job.id for _ in range(3)]
        pages = [await lab.ask("ListInferenceJobs", page=page, page_size=2) for page in (1, 2)]
        assert [[item.id for item in page.inference_jobs] for page in pages] == [made[:0:-1], made[:1]]
        assert {page.total_size for page in pages} == {3}
        assert (await refusal(lab.ask("ListInferenceJobs", page=-1))).reason_name == "INVALID_FIELD"


async def test_files_that_never_arrive_end_and_open_holds_of_ended_files_are_closed(stage: StageFactory) -> None:
    async with stage(upload_seconds=0.2, open_hold_seconds=0.0) as mesh:
        async with mesh.jobs(upload_seconds=60.0):
            lab = await mesh.lab()
            order = await new_order(mesh, lab)
            done = await run(mesh, lab, await queued(lab, order.id))
            late = await begin(lab, order.id)
            await until(lambda: mesh.billing.in_state(Hold.STATE_SETTLED) == [done.id], "the hold of the ended file stayed open")
            assert mesh.billing.holds[done.id].settled_ms == 15_000
        async with mesh.jobs():
            await until(lambda: ended(lab, late), "the announced file never ended")
            assert (await read(lab, late)).error.reason == "UPLOAD_EXPIRED"
