"""Which deed leads past which crash point."""

from collections.abc import Callable, Mapping

from faults.tour.datasets import Datasets
from faults.tour.detectors import Detectors
from faults.tour.orders import Orders
from faults.tour.others import Others
from faults.tour.passing import Passing


class Tour(Datasets, Detectors, Orders, Others, Passing):
    """Every deed."""


Deed = Callable[[Tour], object]
# The longest beginning of a point's name decides; every other point is on the way of a job with words.
DEEDS: Mapping[str, Deed] = {
    "": Tour.speech,
    "billing.assign_plan": Tour.workspace,
    "billing.checkout": Tour.bought,
    "billing.create_key": Tour.keys,
    "billing.create_workspace": Tour.workspace,
    "billing.exhaustion": Tour.exhausted,
    "billing.grant": Tour.workspace,
    "billing.make_user": Tour.claimed,
    "billing.month": Tour.next_month,
    "billing.payment": Tour.bought,
    "billing.release": Tour.renewed,
    "billing.renew": Tour.renewed,
    "billing.reserve.after": Tour.renewed,
    "billing.revoke_key": Tour.keys,
    "billing.settle": Tour.transcribed,
    "consumer.dead_letter": Tour.gibberish,
    "consumer.message.before_return": Tour.without_jobs,
    "gateway.claim": Tour.claimed,
    "gateway.complete": Tour.uploaded,
    "gateway.create.before_retry": Tour.without_jobs,
    "gateway.delete": Tour.cancelled,
    "gateway.order": Tour.uploaded,
    "gateway.relay": Tour.uploaded,
    "gateway.upload.before_forget": Tour.refused,
    "gateway.url": Tour.fetched,
    "inference.charge": Tour.transcribed,
    "inference.charge.before_release": Tour.transcribed_in_vain,
    "inference.work.before_release": Tour.terminated,
    "jobs.arrival": Tour.fetched,
    "jobs.begin_file": Tour.detected,
    "jobs.cancel": Tour.cancelled_inside,
    "jobs.cancel_order": Tour.detected,
    "jobs.cancel_training": Tour.training_cancelled,
    "jobs.claim_jobs": Tour.claimed,
    "jobs.complete_detection": Tour.detections_told,
    "jobs.complete_training": Tour.detector,
    "jobs.complete_upload": Tour.uploaded,
    "jobs.create.after_release": Tour.taken_media,
    "jobs.create.before_release": Tour.taken_media,
    "jobs.create_for_upload": Tour.uploaded,
    "jobs.create_from_url": Tour.fetched,
    "jobs.create_order": Tour.detected,
    "jobs.create_training": Tour.training_cancelled,
    "jobs.delete": Tour.cancelled,
    "jobs.delete_detector": Tour.detected,
    "jobs.expire_uploads": Tour.never_uploaded,
    "jobs.fail_work": Tour.failing,
    "jobs.fetch": Tour.fetched,
    "jobs.free_key": Tour.repeated,
    "jobs.make_ready": Tour.fetched,
    "jobs.orphans": Tour.orphan_media,
    "jobs.recall": Tour.lost_dispatch,
    "jobs.reconcile": Tour.orphan_hold,
    "jobs.refuse": Tour.fetched_in_vain,
    "jobs.release_work": Tour.terminated,
    "jobs.removal": Tour.cancelled,
    "jobs.sweep": Tour.abandoned,
    "jobs.update_detector": Tour.detected,
    "storage.annotate": Tour.dataset,
    "storage.annotation_set": Tour.dataset,
    "storage.audio": Tour.dataset,
    "storage.blob.after_unlink": Tour.cancelled,
    "storage.change_annotation": Tour.dataset,
    "storage.confirm": Tour.dataset,
    "storage.dataset": Tour.dataset,
    "storage.delete": Tour.cancelled,
    "storage.delete_annotation": Tour.dataset,
    "storage.delete_artefact": Tour.removed,
    "storage.delete_audio": Tour.dataset,
    "storage.delete_dataset": Tour.dataset,
    "storage.erase": Tour.refused,
    "storage.fetch": Tour.fetched,
    "storage.fetch.before_erase": Tour.fetched_in_vain,
    "storage.form": Tour.dataset,
    "storage.import": Tour.dataset,
    "storage.object.after_copy": Tour.dataset,
    "storage.prepare": Tour.dataset,
    "storage.publish": Tour.dataset,
    "storage.reap": Tour.cancelled,
    "storage.refuse_audio": Tour.dataset,
    "storage.sweep": Tour.orphan_blob,
}


def deed_for(point: str) -> Deed:
    """What to do until the point has been passed."""
    return DEEDS[max((name for name in DEEDS if point.startswith(name)), key=len)]
