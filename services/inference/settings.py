"""Settings of the inference service."""

from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr

from services.mesh.settings import BusSettings, ServiceSettings, settings_config

JOB_SLOTS = MappingProxyType({"local": 2, "triton": 16})


_TRAINING_PACKAGES = ("jax", "onnx", "optax")


def missing_for_training() -> list[str]:
    """Packages of the extra `training` that are not installed."""
    return [name for name in _TRAINING_PACKAGES if find_spec(name) is None]


class InferenceSettings(BusSettings, ServiceSettings):
    """What the inference service reads from its environment."""

    model_config = settings_config("STENO_INFERENCE_") | {"populate_by_name": True}

    port: int = Field(7004, ge=0, le=65535, description="Port of the gRPC server; 0 takes a free one.")
    billing_address: str = Field(
        "127.0.0.1:7001", description="host:port of the billing service: API keys, and transcriptions without a job."
    )
    jobs_address: str = Field("127.0.0.1:7003", description="host:port of the jobs service.")
    storage_address: str = Field("127.0.0.1:7002", description="host:port of the storage service.")
    engine: Literal["local", "triton"] = Field(
        "local", description="Where the models run: local is this machine's processor, triton a Triton Inference Server."
    )
    triton_address: str = Field("127.0.0.1:8001", description="host:port of Triton's gRPC server, or unix:PATH, for the engine triton.")
    triton_tls: bool = Field(False, description="Whether Triton is called over TLS, with this service's certificate where it has one.")
    triton_tls_ca_file: Path | None = Field(
        None,
        description=(
            "Certificate authorities (PEM file) that Triton's certificate is checked against; empty means"
            " STENO_INFERENCE_TLS_AUTHORITY_FILE where that is set, else the machine's."
        ),
    )
    triton_model_control: bool = Field(
        False,
        description="Whether Triton may be told to load a model again whose process died; it must run with --model-control-mode=explicit.",
    )
    triton_control_header: SecretStr = Field(
        SecretStr(""),
        description=(
            "NAME=VALUE that opens Triton's model control where `--grpc-restricted-protocol=model-repository:NAME=VALUE` restricts it."
        ),
    )
    triton_call_seconds: float = Field(
        300.0, ge=1, le=3600, description="Seconds that Triton may take for one window, waiting in its queue included."
    )
    triton_load_seconds: float = Field(300.0, ge=1, le=3600, description="Seconds that Triton may take to load a model.")
    engine_processes: int = Field(
        0,
        ge=0,
        le=256,
        description="Processes that run models; 0 means one per core, fewer where copies of a large model would fill half of the memory.",
    )
    model: str = Field(
        "",
        description=(
            "Speech model: the name of one that `steno models list` shows. Empty: the bundled English demo recogniser for the local engine,"
            " the test model for the Triton of `steno up`; a Triton elsewhere is told by its own STENO_TRITON_WHISPER_MODEL."
        ),
    )
    models_directory: Path = Field(Path(".steno/models"), description="Directory of the installed models.")
    precision: Literal["auto", "fp32", "fp16", "int8"] = Field(
        "auto", description="Form of the model's weights, which must be exported; auto takes int8 on a processor and fp16 on a GPU."
    )
    beams: int = Field(1, ge=1, le=8, description="Hypotheses that Whisper follows at once; more than 1 costs as many times its decoding.")
    job_slots: int = Field(0, ge=0, le=256, description="Jobs in hand at once; 0 means 2 for the local engine and 16 for Triton.")
    training_slots: int = Field(
        1, ge=0, le=16, description="Detectors that are trained at once; 0 leaves that to others, and so does a machine without JAX."
    )
    training_silence_seconds: float = Field(
        3_600.0,
        gt=0,
        le=86_400,
        description="Seconds that an epoch of training may take; then it begins anew.",
    )
    detection_slots: int = Field(2, ge=0, le=256, description="Files that detectors are run over at once; 0 leaves that to others.")
    detectors_kept: int = Field(64, ge=1, le=10_000, description="Detectors' files that stay on the scratch disk.")
    triton_repository: Path | None = Field(
        None,
        description=(
            "Directory that Triton serves models from and that this service may write to: detectors run there, which needs"
            " STENO_INFERENCE_TRITON_MODEL_CONTROL. Empty: they run in processes of this machine."
        ),
    )
    triton_detectors: int = Field(8, ge=1, le=1_000, description="Detectors that Triton has loaded at once; of more, unused ones go.")
    voice_slots: int = Field(
        1, ge=1, le=64, description="Recordings of known speakers that are described at once, each in a process of its own."
    )
    voices_waiting: int = Field(
        16, ge=0, le=1024, description="Recordings of known speakers that may wait for a slot; more are told to come back."
    )
    transcribe_slots: int = Field(2, ge=1, le=256, description="Transcriptions without a job, for callers over gRPC, at once.")
    transcribes_waiting: int = Field(
        8, ge=0, le=1024, description="Transcriptions without a job that may wait for a slot; more are told to come back."
    )
    transcribe_seconds: float = Field(
        7200.0,
        gt=0,
        le=86_400,
        description="Seconds that a transcription without a job may take; its caller's deadline may be sooner.",
    )
    scratch_directory: Path = Field(
        Path(".steno/scratch/inference"), description="Directory for audio while it is worked on; 115 MB per hour of audio and job in hand."
    )
    min_speech_ratio: float = Field(
        0.05,
        ge=0,
        le=1,
        validation_alias=AliasChoices("STENO_INFERENCE_MIN_SPEECH_RATIO", "STENO_VAD_MIN_SPEECH_RATIO"),
        description=(
            "Share of the audio that must be speech; below it a job is done without a transcript or charge."
            " Also read from `STENO_VAD_MIN_SPEECH_RATIO`."
        ),
    )
    min_speech_seconds: float = Field(
        0.5, ge=0, le=60, description="Seconds of speech below which audio counts as speechless, whatever its length."
    )
    max_duration_seconds: int = Field(36_000, ge=1, le=360_000, description="Longest audio that is decoded, in seconds.")
    min_free_bytes: int = Field(256 * 1024 * 1024, ge=0, description="Free bytes on the scratch disk below which no work is taken.")

    @property
    def trainings_in_hand(self) -> int:
        """Trainings at once: none where the packages that train are missing."""
        return 0 if missing_for_training() else self.training_slots

    @property
    def jobs_in_hand(self) -> int:
        """Jobs at once: batches fill with windows of many, processes of this machine do not."""
        return self.job_slots or JOB_SLOTS[self.engine]

    def plain_text(self) -> list[str]:
        """With Triton, unless a socket of this machine leads there."""
        plain = self.engine == "triton" and not self.triton_tls and not self.triton_address.startswith("unix:")
        return [*super().plain_text(), *(["STENO_INFERENCE_TRITON_TLS is not set: Triton is called in plain text"] if plain else [])]
