"""Secrets that can be recognised wherever they turn up, in whatever spelling."""

import base64
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_LEAST_BYTES = 8


@dataclass(frozen=True)
class Canary:
    """Something that belongs into no sink. credential: it belongs into no database either, not even its owner's row."""

    name: str
    value: bytes = field(repr=False)
    credential: bool = True

    def forms(self) -> Iterator[bytes]:
        """As it is, in hexadecimal, and in base64 wherever in a longer text it may begin."""
        yield self.value
        yield self.value.hex().encode()
        for before in range(3):
            # Only the characters that stand for bits of the value alone, not for those of what is beside it.
            first, end = -(-before * 8 // 6), (before + len(self.value)) * 8 // 6
            yield base64.b64encode(bytes(before) + self.value + bytes(3))[first:end]


@dataclass
class Canaries:
    """Everything that was planted."""

    planted: list[Canary] = field(default_factory=list)

    def plant(self, name: str, value: str | bytes, *, credential: bool = True) -> None:
        """Look for this from now on. Fails for what could turn up by chance."""
        content = value.encode() if isinstance(value, str) else value
        assert len(content) >= _LEAST_BYTES, f"{name} is too short to be told from anything else"
        self.planted.append(Canary(name, content, credential))

    def found_in(self, content: bytes, *, credentials_only: bool = False) -> set[str]:
        """The names of those that the content holds, in any spelling."""
        wanted: Iterable[Canary] = (canary for canary in self.planted if canary.credential or not credentials_only)
        return {canary.name for canary in wanted if any(form in content for form in canary.forms())}


def word(purpose: str) -> str:
    """A text that nothing else holds."""
    return f"{purpose}-{secrets.token_hex(8)}"
