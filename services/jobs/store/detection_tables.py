"""The tables of trainings, detectors and inference orders; what is worked on are rows of `job`."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary
from sqlmodel import Field

from services.jobs.store.tables import Table
from services.mesh.columns import UtcDateTime


class TrainingRow(Table, table=True):
    """What a training is about beside its job. detector_name: of the detector to make; detector_id: empty until it is made."""

    __tablename__ = "training_job"

    job_id: str = Field(primary_key=True)
    workspace_id: str
    detector_name: str
    detector_id: str = ""


class TrainingEpochRow(Table, table=True):
    """What one epoch of a training achieved, kept for ever."""

    __tablename__ = "training_epoch"

    job_id: str = Field(primary_key=True)
    epoch: int = Field(primary_key=True)
    training_loss: float
    validation_loss: float
    validation_f1_score: float


class DetectorRow(Table, table=True):
    """A trained detector. artifact_types: names, each ended by a NUL; eval_metrics: an EvaluationMetrics."""

    __tablename__ = "detector"
    __table_args__ = (Index("detector_by_owner", "workspace_id", "owner", "create_time", "id"),)

    id: str = Field(primary_key=True)
    workspace_id: str
    owner: str
    name: str
    description: str = ""
    artifact_types: bytes = Field(sa_type=LargeBinary)
    training_job_id: str
    eval_metrics: bytes = Field(sa_type=LargeBinary)
    is_active: bool = True
    artefact_id: str
    create_time: datetime = Field(sa_type=UtcDateTime)


class InferenceOrderRow(Table, table=True):
    """An order to run a detector over files. config: an InferenceConfig; cancel_time: null unless its owner ended it."""

    __tablename__ = "inference_order"
    __table_args__ = (
        Index("inference_order_by_owner", "workspace_id", "owner", "create_time", "id"),
        Index("inference_order_by_detector", "detector_id"),
    )

    id: str = Field(primary_key=True)
    workspace_id: str
    owner: str
    detector_id: str
    config: bytes = Field(sa_type=LargeBinary)
    create_time: datetime = Field(sa_type=UtcDateTime)
    cancel_time: datetime | None = Field(default=None, sa_type=UtcDateTime)


class InferenceFileRow(Table, table=True):
    """A file of an inference order beside its job. rate_percent: what it costs, by the plan that it was announced under."""

    __tablename__ = "inference_file"
    __table_args__ = (Index("inference_file_by_order", "order_id", "job_id"),)

    job_id: str = Field(primary_key=True)
    workspace_id: str
    order_id: str
    rate_percent: int
    size_bytes: int = Field(sa_type=BigInteger)
    detection_count: int = Field(default=0, sa_type=BigInteger)


class DetectionPartRow(Table, table=True):
    """Some of what was found in a file, in order of time. detections: a steno.inference.v1.Detections."""

    __tablename__ = "detection_part"

    job_id: str = Field(primary_key=True)
    part: int = Field(primary_key=True)
    detections: bytes = Field(sa_type=LargeBinary)
