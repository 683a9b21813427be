"""Why a model cannot be had; each message is the whole explanation, with what to do."""


class ModelError(Exception):
    """A model cannot be used."""


class ModelMissing(ModelError):
    """No model of that name, or none at that precision, is installed."""


class ModelBroken(ModelError):
    """What lies there is not what was installed, or no model that can be run."""


class ModelBusy(ModelError):
    """Another process is at work on the model."""
