"""Who is to blame decides whether an attempt counts and one error comes out of a group."""

import asyncio

import grpc
import httpx2
import pytest

from services.inference.domain import (
    DecoderDied,
    EngineUnavailable,
    LanguageNotSupported,
    LeaseLost,
    MediaUnprocessable,
    Stopped,
    TranscriptIncomplete,
    TranscriptionFailed,
)
from services.inference.engines.engine import EngineFailed, LanguageUnsupported
from services.inference.failures import failure_of, ungrouped
from services.inference.patience import patiently
from services.mesh.errors import Overloaded, ServiceUnavailable
from services.mesh.status import RemoteError


@pytest.mark.parametrize(
    ("error", "reason", "retryable"),
    [
        (MediaUnprocessable(), "MEDIA_UNPROCESSABLE", False),
        (TranscriptionFailed(), "TRANSCRIPTION_FAILED", False),
        (TranscriptIncomplete(), "TRANSCRIPT_INCOMPLETE", False),
        (LanguageNotSupported(), "LANGUAGE_NOT_SUPPORTED", False),
        (LanguageUnsupported("not French"), "LANGUAGE_NOT_SUPPORTED", False),
        (DecoderDied("signal SIGKILL"), "MEDIA_UNPROCESSABLE", True),
        (RemoteError(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "no"), "INTERNAL", True),
        (RemoteError(grpc.StatusCode.INTERNAL, "INTERNAL", "no"), "INTERNAL", True),
        (KeyError("bug"), "INTERNAL", True),
    ],
    ids=repr,
)
def test_failure_of_the_job_is_told(error: Exception, reason: str, retryable: bool) -> None:
    failure = failure_of(error)
    assert failure is not None
    assert (failure.error.reason(), failure.retryable) == (reason, retryable)


@pytest.mark.parametrize(("attempt", "retryable"), [(1, True), (2, True), (3, False), (4, False)])
def test_audio_that_decoders_die_of_is_given_up_at_the_third(attempt: int, retryable: bool) -> None:
    failure = failure_of(DecoderDied("signal SIGSEGV"), attempt)
    assert failure is not None
    assert (failure.error.reason(), failure.retryable) == ("MEDIA_UNPROCESSABLE", retryable)


@pytest.mark.parametrize(
    "error",
    [
        RemoteError(grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE", "away"),
        RemoteError(grpc.StatusCode.PERMISSION_DENIED, "ACCESS_DENIED", "wrong key"),
        ServiceUnavailable(),
        Overloaded(),
        EngineUnavailable(),
        EngineFailed("no processes"),
        httpx2.ReadError("reset"),
        OSError(28, "full"),
        TimeoutError(),
    ],
    ids=repr,
)
def test_failure_of_the_surroundings_counts_for_no_attempt(error: Exception) -> None:
    assert failure_of(error) is None


@pytest.mark.parametrize("decisive", [LeaseLost, Stopped])
def test_decisive_error_comes_out_of_nested_groups(decisive: type[Exception]) -> None:
    with pytest.raises(decisive), ungrouped():
        raise ExceptionGroup("outer", [ValueError(), ExceptionGroup("inner", [KeyError(), decisive()])])
    with pytest.raises(ValueError, match="first"), ungrouped():
        raise ExceptionGroup("outer", [ValueError("first"), KeyError()])


async def test_patience_ends_with_success_refusal_or_time() -> None:
    tries: list[int] = []

    async def away_twice() -> str:
        tries.append(len(tries))
        if len(tries) < 3:
            raise ServiceUnavailable
        return "done"

    async def refused() -> None:
        tries.append(0)
        raise MediaUnprocessable

    async def away() -> None:
        raise TimeoutError

    assert await patiently(away_twice, "call", 10) == "done"
    assert len(tries) == 3
    with pytest.raises(MediaUnprocessable):
        await patiently(refused, "call", 10)
    assert len(tries) == 4
    async with asyncio.timeout(60):
        with pytest.raises(TimeoutError):
            await patiently(away, "call", 0.3)
