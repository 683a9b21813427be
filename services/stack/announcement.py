"""What `steno up` says once everything runs."""

from services.stack.models import RunningModel
from services.stack.supervisor import Mesh

_LANGUAGES_TOLD = 8
_DEMO_ENGINE = "The bundled engine is a demo engine for English: fine to try everything, too weak for real recordings."
_TEST_MODEL = "This is a test model: it shows that everything works and understands samples/whisper-meeting, not real recordings."


def announce(mesh: Mesh) -> str:
    """The lines between `ready` and the first request."""
    key = mesh.workspace.api_key
    models = "\n          ".join(line for model in mesh.models for line in _describe(model)) or "none"
    return f"""
Steno is ready.

  URL     {mesh.url}
  API key {key}
  Model   {models}

  Try it from another terminal:

    curl {mesh.url}/api/v1/transcribe -H "X-API-Key: {key}" -F "file=@recording.mp3"

  or

    export STENO_URL={mesh.url} STENO_API_KEY={key}
    steno transcribe recording.mp3

Ctrl-C stops it."""


def _describe(model: RunningModel) -> list[str]:
    lines = [f"{model.name}, {model.engine} engine, languages: {_languages(model)}"]
    if model.test:
        lines.append(_TEST_MODEL)
    elif not model.production:
        lines.append(_DEMO_ENGINE)
    return lines


def _languages(model: RunningModel) -> str:
    if len(model.languages) > _LANGUAGES_TOLD:
        return f"{', '.join(model.languages[:_LANGUAGES_TOLD])} and {len(model.languages) - _LANGUAGES_TOLD} more"
    return ", ".join(model.languages) or "any"
