"""Why work cannot be done, and what is charged."""

from services.mesh.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable

SPEECHLESS_SUGGESTION = (
    "No speech was found in this file. Send a recording in which people talk, or check that the right track was exported."
)


class MediaUnprocessable(FailedPrecondition):
    """The audio cannot be decoded."""


class LanguageNotSupported(InvalidArgument):
    """No deployed speech model understands the requested language."""


class TaskNotSupported(InvalidArgument):
    """No deployed speech model does the requested task."""


class NoSpeech(InvalidArgument):
    """The recording holds too little speech to describe a voice."""


class UnsupportedMedia(InvalidArgument):
    """The recording is not audio or video that Steno reads."""


class BrokenMedia(InvalidArgument):
    """Nothing in the recording decodes to audio."""


class MediaTooLarge(InvalidArgument):
    """The recording has more bytes than allowed."""


class MediaTooLong(InvalidArgument):
    """The recording holds more audio than allowed."""


class MediaNotFound(NotFound):
    """The workspace has no ready media with this id."""


class HoldLost(Unavailable):
    """The credit that this call held is not held any longer; try again."""


class TranscriptionFailed(FailedPrecondition):
    """The speech model failed on every window of the audio."""


class TranscriptIncomplete(FailedPrecondition):
    """Part of the speech could not be transcribed, and the order was strict about that."""


class TrainingFailed(FailedPrecondition):
    """The training cannot succeed as ordered."""


class DetectionFailed(FailedPrecondition):
    """The detector failed on the file."""


class EngineUnavailable(Unavailable):
    """The speech models cannot be reached; the job waits."""


class LeaseLost(Exception):
    """Another worker took the job over, or its owner ended it."""


class Stopped(Exception):
    """The service ends: the job in hand goes back."""


class DecoderDied(Exception):
    """The process that read the audio died of something that may be the audio's fault or the machine's."""


class ModelDied(Exception):
    """The models failed on the audio and answer since: the audio's fault or the machine's."""


class DetectorDied(ModelDied):
    """A detector failed on a file, and the engine answers since: the detector's fault, the file's or the machine's."""


class TrainerDied(Exception):
    """The process that trained ended, or fell silent, without a word."""


def billable_ms(duration_ms: int, speech_detected: bool) -> int:
    """What a transcript costs: the decoded length, nothing without speech."""
    return duration_ms if speech_detected else 0
