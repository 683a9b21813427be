"""Why a command ends without success: a sentence for standard error and an exit status."""

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class CommandFailed(Exception):
    """The command cannot go on; the message is the whole explanation."""

    exit_status = EXIT_FAILED


class WrongUsage(CommandFailed):
    """The options do not go together."""

    exit_status = EXIT_USAGE


class Interrupted(CommandFailed):
    """Somebody pressed Ctrl-C; the message says what goes on without them."""

    exit_status = EXIT_INTERRUPTED


class Unreachable(CommandFailed):
    """No answer came from the server."""


class Refused(CommandFailed):
    """The server answered with an error object. retry_after_seconds: 0 unless it said when to come back."""

    def __init__(self, sentence: str, code: str, status: int, retry_after_seconds: float = 0.0) -> None:
        super().__init__(f"{sentence} ({code})" if code else sentence)
        self.code = code
        self.status = status
        self.retry_after_seconds = retry_after_seconds
