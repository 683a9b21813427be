"""The values of the chart with their comments: what its schema and its README are written from."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[1] / "deploy" / "helm" / "steno"
_SENTENCE = re.compile(r"\s*# -- (.*)")
_SCHEMA = re.compile(r"\s*# @schema (.*)")
_LIKE = re.compile(r"\s*# @like (\S+)")
_SETTINGS = re.compile(r"\s*# @settings")
_MORE = re.compile(r"\s*# (.*)")


@dataclass(frozen=True)
class Value:
    """One value. path: keys from the top. schema: what its comment adds. like: the path of a value with the same keys and meanings."""

    path: tuple[str, ...]
    default: Any
    sentence: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    like: tuple[str, ...] = ()
    settings: bool = False
    children: tuple["Value", ...] = ()


def read_values(text: str) -> tuple[Value, ...]:
    """The values at the top, with those below them. Raises ValueError for one without a sentence."""
    top = _children(yaml.compose(text, Loader=yaml.SafeLoader), (), text.splitlines())
    known = {value.path: value for value in walk(top)}
    return tuple(_filled(value, known) for value in top)


def walk(values: Sequence[Value]) -> Iterator[Value]:
    """Every value, each before those below it."""
    for value in values:
        yield value
        yield from walk(value.children)


def _children(node: yaml.Node | None, path: tuple[str, ...], lines: Sequence[str]) -> tuple[Value, ...]:
    if not isinstance(node, yaml.MappingNode):
        return ()
    return tuple(_read(key, value, (*path, key.value), lines) for key, value in node.value)


def _read(key: yaml.Node, node: yaml.Node, path: tuple[str, ...], lines: Sequence[str]) -> Value:
    comment = _comment_above(lines, key.start_mark.line)
    schema: dict[str, Any] = next((yaml.safe_load(found[1]) for line in comment if (found := _SCHEMA.match(line))), {})
    like = next((tuple(found[1].split(".")) for line in comment if (found := _LIKE.match(line))), ())
    settings = any(_SETTINGS.match(line) for line in comment)
    # A value whose schema is stated as a whole has no keys that are values of their own.
    children = () if "$ref" in schema else _children(node, path, lines)
    if settings:
        children = tuple(replace(child, children=()) for child in children)
    return Value(path, _plain(node), _sentence(comment), schema, like, settings, children)


def _comment_above(lines: Sequence[str], line: int) -> list[str]:
    first = line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    comment = list(lines[first:line])
    starts = [number for number, text in enumerate(comment) if _SENTENCE.match(text)]
    return comment[starts[-1] :] if starts else [text for text in comment if _LIKE.match(text)]


def _sentence(comment: Sequence[str]) -> str:
    told = (_SENTENCE.match(line) or (None if line.lstrip().startswith("# @") else _MORE.match(line)) for line in comment)
    return " ".join(found[1].strip() for found in told if found)


def _plain(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _filled(value: Value, known: Mapping[tuple[str, ...], Value], like: Value | None = None) -> Value:
    """The value with what it lacks, and those below it lack, taken from what it is like. Raises ValueError for one without a sentence."""
    like = known[value.like] if value.like else like
    sentence = value.sentence or (like.sentence if like else "")
    if not sentence:
        raise ValueError(f"{'.'.join(value.path)} has no comment `# -- …`")
    schema = value.schema or (like.schema if like else {})
    likes = {child.path[-1]: child for child in like.children} if like else {}
    children = () if "$ref" in schema else tuple(_filled(child, known, likes.get(child.path[-1])) for child in value.children)
    return replace(value, sentence=sentence, schema=schema, children=children)
