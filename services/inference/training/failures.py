"""Trainings that cannot succeed, however often they are tried."""


class TrainingFailed(Exception):
    """Ends the training with a reason; the message is for people."""

    reason: str

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NoUsableData(TrainingFailed):
    """The files hold nothing to learn from."""

    reason = "NO_USABLE_DATA"


class LossDiverged(TrainingFailed):
    """The loss is no number any more."""

    reason = "LOSS_DIVERGED"
