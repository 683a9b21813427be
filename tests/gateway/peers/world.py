"""What the peers know."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.mesh.ids import new_id
from steno.billing.v1.api_key_pb2 import ApiKey
from steno.billing.v1.ledger_pb2 import Usage
from steno.billing.v1.payments_service_pb2 import Checkout
from steno.billing.v1.user_pb2 import User
from steno.billing.v1.workspace_pb2 import RateClass
from steno.inference.v1.inference_service_pb2 import Model
from steno.jobs.v1.detection_job_pb2 import InferenceJob, TrainingJob
from steno.jobs.v1.detector_pb2 import Detector
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.transcript_pb2 import Transcript
from steno.storage.v1.annotation_set_pb2 import Annotation, AnnotationSet
from steno.storage.v1.dataset_pb2 import Dataset, DatasetAudio
from steno.storage.v1.media_pb2 import Media


@dataclass
class World:
    """What the peers know, shared by all of them and read by the tests."""

    keys: dict[str, ApiKey] = field(default_factory=dict)
    media: dict[str, Media] = field(default_factory=dict)
    blobs: dict[str, bytearray] = field(default_factory=dict)
    complete: set[str] = field(default_factory=set)
    aborted: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    orders: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    usages: dict[str, Usage] = field(default_factory=dict)
    poor: set[str] = field(default_factory=set)
    authentications: int = 0
    users: dict[tuple[str, str], User] = field(default_factory=dict)
    wallets: dict[tuple[str, str], str] = field(default_factory=dict)
    resolutions: int = 0
    rates: list[RateClass] = field(default_factory=list)
    signed_by: list[str] = field(default_factory=list)
    put_status: int = 200
    put_gate: asyncio.Event = field(default_factory=asyncio.Event)
    create_failures: list[Exception] = field(default_factory=list)
    data_url: str = ""
    checkouts: dict[str, tuple[str, Checkout]] = field(default_factory=dict)
    payment_events: list[tuple[str, bytes]] = field(default_factory=list)
    sells: bool = True
    provider_fails: bool = False
    bucket_url: str = ""
    upload_limits: dict[str, int] = field(default_factory=dict)
    claim_digests: dict[str, str] = field(default_factory=dict)
    models: list[Model] = field(default_factory=lambda: [Model(name="pocketsphinx-en-us", engine="local", languages=["en"])])
    watching: int = 0
    creations: Counter[str] = field(default_factory=Counter)
    texts: dict[str, list[str]] = field(default_factory=dict)
    owners: dict[str, tuple[str, str]] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    audio: dict[str, DatasetAudio] = field(default_factory=dict)
    sets: dict[str, AnnotationSet] = field(default_factory=dict)
    annotations: dict[str, Annotation] = field(default_factory=dict)
    trainings: dict[str, TrainingJob] = field(default_factory=dict)
    detectors: dict[str, Detector] = field(default_factory=dict)
    inferences: dict[str, InferenceJob] = field(default_factory=dict)
    detection_failures: list[Exception] = field(default_factory=list)

    def new_key(self, kind: ApiKey.Kind.ValueType = ApiKey.KIND_WORKSPACE, workspace_id: str = "", scopes: Sequence[str] = ()) -> str:
        """The secret of a key in a workspace of its own."""
        secret = f"sk_test_{new_id()}"
        workspace_id = workspace_id or new_id()
        self.keys[secret] = ApiKey(id=new_id(), workspace_id=workspace_id, name="test", kind=kind, key_prefix=secret[:12], test=True)
        self.keys[secret].scopes.extend(scopes)
        self.keys[secret].create_time.GetCurrentTime()
        return secret

    def new_wallet(self, secret: str) -> str:
        """The token of an anonymous buyer in a key's workspace."""
        token = f"guest_{new_id()}"
        self.wallets[self.workspace_of(secret), token] = new_id()
        return token

    def workspace_of(self, secret: str) -> str:
        """Where a key belongs."""
        return self.keys[secret].workspace_id

    async def update(self, job_id: str, **changes: Any) -> None:
        """Change a job and wake its watchers."""
        job = self.jobs[job_id]
        for name, value in changes.items():
            setattr(job, name, value)
        job.revision += 1
        async with self.changed:
            self.changed.notify_all()

    async def say(self, job_id: str, text: str) -> None:
        """Finish a window of a job."""
        self.texts.setdefault(job_id, []).append(text)
        await self.update(job_id, state=Job.STATE_PROCESSING)

    async def submitted(self, secret: str, count: int = 1) -> Job:
        """The newest job of a key's workspace, once it has so many."""
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(lambda: len(self.jobs_of(secret)) >= count)
        return self.jobs_of(secret)[0]

    async def finish(self, job_id: str, transcript: Transcript) -> None:
        """End a job with a stored transcript."""
        artefact_id = new_id()
        self.blobs[artefact_id] = bytearray(transcript.SerializeToString())
        self.complete.add(artefact_id)
        self.jobs[job_id].complete_time.GetCurrentTime()
        await self.update(
            job_id,
            state=Job.STATE_DONE,
            progress=1.0,
            transcript_artefact_id=artefact_id,
            speech_detected=transcript.speech_detected,
            speech_ratio=transcript.speech_ratio,
            language=transcript.language,
        )

    def new_detector(self, secret: str, *, is_active: bool = True) -> Detector:
        """A trained model of a workspace key."""
        detector = Detector(
            id=new_id(), workspace_id=self.workspace_of(secret), name="clicks", artifact_types=["click"], is_active=is_active
        )
        detector.training_job_id = new_id()
        detector.eval_metrics.precision, detector.eval_metrics.recall, detector.eval_metrics.f1_score = 0.9, 0.8, 0.85
        scores = detector.eval_metrics.per_class["click"]
        scores.precision, scores.recall, scores.f1_score, scores.support, scores.threshold = 0.9, 0.8, 0.85, 40, 0.3
        detector.create_time.GetCurrentTime()
        self.detectors[detector.id] = detector
        self.owners[detector.id] = (detector.workspace_id, "workspace")
        return detector

    def jobs_of(self, secret: str) -> list[Job]:
        """A workspace's jobs, newest first."""
        found = [job for job in self.jobs.values() if job.workspace_id == self.workspace_of(secret)]
        return sorted(found, key=lambda job: job.id, reverse=True)

    def media_of(self, secret: str) -> list[Media]:
        """A workspace's media, announced or ready."""
        return [media for media in self.media.values() if media.workspace_id == self.workspace_of(secret)]
