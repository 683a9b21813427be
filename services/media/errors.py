"""What can be wrong with a piece of media, and with the process that reads it."""

from typing import ClassVar


class MediaError(Exception):
    """The media cannot be used. `code` is stable; `reason` is a sentence for people."""

    code: ClassVar[str] = "MEDIA_ERROR"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnsupportedMedia(MediaError):
    """Not audio or video that is accepted: text, a playlist, an unknown container, no audio stream."""

    code = "UNSUPPORTED_MEDIA"


class EmptyMedia(MediaError):
    """The file has no bytes."""

    code = "EMPTY_MEDIA"


class BrokenMedia(MediaError):
    """An accepted container in which no usable audio decodes."""

    code = "BROKEN_MEDIA"


class MediaTooLong(MediaError):
    """The audio goes on past the longest duration that is allowed."""

    code = "MEDIA_TOO_LONG"


class SandboxKilled(MediaError):
    """The child died while it read the media.

    `reason` is one of `timeout`, `cpu`, `memory`, `server`, `protocol`, `exit <status>`, `signal <name>`.
    """

    code = "SANDBOX_KILLED"


class TaskFailed(MediaError):
    """The function in the child raised something that is not a MediaError; `reason` names it."""

    code = "TASK_FAILED"


class SandboxUnavailable(Exception):
    """This machine cannot isolate a child as the limits demand."""


VERDICTS: dict[str, type[MediaError]] = {kind.code: kind for kind in (UnsupportedMedia, EmptyMedia, BrokenMedia, MediaTooLong, TaskFailed)}
