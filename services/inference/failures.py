"""What went wrong with a job in hand, and what follows: it failed, it may be tried again, or it is nobody's attempt."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import grpc
import httpx2

from services.inference.domain import (
    DecoderDied,
    DetectionFailed,
    DetectorDied,
    LanguageNotSupported,
    LeaseLost,
    MediaUnprocessable,
    ModelDied,
    Stopped,
    TrainerDied,
    TrainingFailed,
    TranscriptionFailed,
)
from services.inference.engines.engine import Engine, EngineFailed, LanguageUnsupported
from services.mesh.errors import FailedPrecondition, Internal, InvalidArgument, MeshError
from services.mesh.status import RemoteError

# Another tenant's work waits meanwhile.
_DECODERS_SPENT = 3
_DECISIVE = (LeaseLost, Stopped)
_REFUSED_FOR_GOOD = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
)


@dataclass(frozen=True)
class Failure:
    """Why the work failed. retryable: another attempt may succeed; attempts are counted."""

    error: MeshError
    retryable: bool


def failure_of(error: Exception, attempt: int = 1) -> Failure | None:
    """None when the cause lies outside of the job, which then goes back without an attempt being counted.

    attempt: the number of this one; audio that decoders die of is given up at the third.
    """
    match error:
        case FailedPrecondition() | InvalidArgument():
            return Failure(error, retryable=False)
        case LanguageUnsupported():
            return Failure(LanguageNotSupported(str(error)), retryable=False)
        case DecoderDied():
            return Failure(MediaUnprocessable(str(error)), retryable=attempt < _DECODERS_SPENT)
        case DetectorDied():
            return Failure(DetectionFailed(), retryable=True)
        case TrainerDied():
            return Failure(TrainingFailed(f"The training broke off again and again. {error}"), retryable=True)
        case ModelDied():
            return Failure(TranscriptionFailed("The speech models failed on the audio."), retryable=True)
        case RemoteError() if error.code in _REFUSED_FOR_GOOD:
            return Failure(Internal(), retryable=True)
        case MeshError() | EngineFailed() | httpx2.HTTPError() | OSError():
            return None
        case _:
            return Failure(Internal(), retryable=True)


@asynccontextmanager
async def blaming(engine: Engine) -> AsyncIterator[None]:
    """What failed while the engine answers counts as an attempt, or such audio would come back for ever. Raises EngineFailed, ModelDied."""
    try:
        yield
    except LanguageUnsupported:
        raise
    except EngineFailed as error:
        await engine.check()
        raise ModelDied(str(error)) from error


@contextmanager
def ungrouped() -> Iterator[None]:
    """Raise one error of an exception group instead of the group: LeaseLost or Stopped if there is one, else the first."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        chosen = next((leaf for kind in _DECISIVE for leaf in leaves if isinstance(leaf, kind)), leaves[0])
        raise chosen from group


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for member in group.exceptions:
        if isinstance(member, BaseExceptionGroup):
            yield from _leaves(member)
        else:
            yield member
