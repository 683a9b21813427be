"""Fields of a form, read as strictly as the official clients write them."""

import re
from collections.abc import Collection

from services.gateway.domain import Reason, Refusal
from services.gateway.form_fields import single
from services.gateway.submissions import Fields

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_BOOLEANS = {"": False, "true": True, "1": True, "false": False, "0": False}


def many(fields: Fields, name: str) -> tuple[str, ...]:
    """The values of an array, under `name[]` or `name`, but not under both. Raises Refusal."""
    bracketed_name = f"{name}[]"
    if fields.get(name) and fields.get(bracketed_name):
        raise Refusal(Reason.BAD_FIELD, f"Send {bracketed_name} or {name}, not both.", field=name)
    return tuple(value for value in (fields.get(bracketed_name) or fields.get(name) or ()) if value)


def bracketed(fields: Fields, name: str) -> dict[str, str]:
    """The members of an object sent as `name[member]`. Raises Refusal."""
    start = f"{name}["
    members = [key for key in fields if key.startswith(start) and key.endswith("]")]
    return {key[len(start) : -1]: single(fields, key) for key in members}


def choices(fields: Fields, name: str, allowed: Collection[str]) -> frozenset[str]:
    """The values of an array of which each is one of a few. Raises Refusal."""
    values = frozenset(many(fields, name))
    if values - set(allowed):
        raise Refusal(Reason.BAD_FIELD, f"{name} is a list of {', '.join(sorted(allowed))}.", field=name)
    return values


def boolean(fields: Fields, name: str) -> bool:
    """True or false; false when absent. Raises Refusal."""
    text = single(fields, name).lower()
    if text not in _BOOLEANS:
        raise Refusal(Reason.BAD_FIELD, f"{name} is true or false.", field=name)
    return _BOOLEANS[text]


def number(fields: Fields, name: str, *, least: float, most: float) -> float | None:
    """A number within bounds; None when absent. Raises Refusal."""
    text = single(fields, name)
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or not least <= float(text) <= most:
        raise Refusal(Reason.BAD_FIELD, f"{name} is a number from {least:g} to {most:g}.", field=name)
    return float(text)
