"""Fields of a submit's form that several contracts read alike."""

import re

from services.gateway.domain import Reason, Refusal
from services.gateway.submissions import Fields

MAX_PROMPT_BYTES = 4096
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_LANGUAGE = re.compile(r"[a-z]{2}")


def single(fields: Fields, name: str, default: str = "") -> str:
    """A field sent once or not at all. Raises Refusal."""
    values = fields.get(name, ())
    if len(values) > 1:
        raise Refusal(Reason.BAD_FIELD, f"Send {name} once.", field=name)
    return values[0] if values else default


def boolean(fields: Fields, name: str, default: str) -> bool:
    """A field that is true or false. Raises Refusal."""
    text = single(fields, name, default).lower()
    if text not in _BOOLEANS:
        raise Refusal(Reason.BAD_FIELD, f"{name} is true or false.", field=name)
    return _BOOLEANS[text]


def strict(fields: Fields) -> bool:
    """Steno's own field `strict` of every contract; false when absent or empty. Raises Refusal."""
    return boolean({name: values for name, values in fields.items() if any(values)}, "strict", "false")


def language_code(text: str, name: str = "language") -> str:
    """A language as the mesh takes it: empty for auto and for nothing. Raises Refusal."""
    if text in ("", "auto"):
        return ""
    if not _LANGUAGE.fullmatch(text):
        raise Refusal(Reason.BAD_LANGUAGE, field=name)
    return text


def language(fields: Fields, default: str) -> str:
    """The field `language`, or what stands for it. Raises Refusal."""
    return language_code(single(fields, "language") or default)


def end_of_prompt(fields: Fields) -> str:
    """The field `prompt`; of a long one the end, which is what counts. Raises Refusal."""
    text = single(fields, "prompt")
    if "\0" in text:
        raise Refusal(Reason.BAD_FIELD, "prompt is plain text.", field="prompt")
    return text.encode()[-MAX_PROMPT_BYTES:].decode(errors="ignore")
