"""Damages whole files at random: bit flips, splices, false lengths, doubled and lost pieces."""

import random
from collections.abc import Callable, Sequence
from typing import Literal

LENGTHS = (0, 1, 2, 7, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
ORDERS: tuple[Literal["big", "little"], ...] = ("big", "little")
HEAD_BYTES = 1_024
MAX_CHANGES = 12

Change = Callable[[bytearray, Sequence[bytes], random.Random], None]


def mutate(sources: Sequence[bytes], seed: int, number: int) -> bytes:
    """The mutant of this number: one of the sources, changed one to a dozen times."""
    choice = random.Random(f"{seed}:{number}")
    data = bytearray(choice.choice(sources))
    for _ in range(choice.randint(1, MAX_CHANGES)):
        choice.choice(CHANGES)(data, sources, choice)
    return bytes(data)


def place(data: bytearray, choice: random.Random) -> int:
    """Half of all damage is done near the start or the end, where headers and indexes are."""
    match choice.randrange(4):
        case 0:
            return choice.randrange(min(len(data), HEAD_BYTES) + 1)
        case 1:
            return len(data) - choice.randrange(min(len(data), HEAD_BYTES) + 1)
    return choice.randrange(len(data) + 1)


def flip_bits(data: bytearray, sources: Sequence[bytes], choice: random.Random) -> None:
    """A few bits of one neighbourhood."""
    at = place(data, choice)
    for index in range(at, min(len(data), at + choice.randint(1, 8))):
        data[index] ^= 1 << choice.randrange(8)


def overwrite(data: bytearray, sources: Sequence[bytes], choice: random.Random) -> None:
    """A run of random bytes, or of one byte."""
    at, length = place(data, choice), choice.randint(1, 64)
    run = choice.randbytes(length) if choice.random() < 0.7 else bytes([choice.randrange(256)]) * length
    data[at : at + length] = run


def set_length(data: bytearray, sources: Sequence[bytes], choice: random.Random) -> None:
    """A field of two, four or eight bytes, in either order, that says something at the edge of what it can."""
    at, size = place(data, choice), choice.choice((2, 4, 4, 4, 8))
    value = choice.choice(LENGTHS) & (1 << 8 * size) - 1
    data[at : at + size] = value.to_bytes(size, choice.choice(ORDERS))


def shift_length(data: bytearray, sources: Sequence[bytes], choice: random.Random) -> None:
    """A field of four bytes that is off by a little."""
    at, order = place(data, choice), choice.choice(ORDERS)
    value = int.from_bytes(data[at : at + 4], order) + choice.choice((-1, 1, -8, 8, 1 << 16))
    data[at : at + 4] = (value & 0xFFFFFFFF).to_bytes(4, order)


def splice(data: bytearray, sources: Sequence[bytes], choice: random.Random) -> None:
    """A piece of another file in place of a piece of this."""
    other = choice.choice(sources)
    start = choice.randrange(len(other))
    piece = other[start : start + choice.randint(1, 4_096)]
    at = place(data, choice)
    data[at : at + choice.choice((0, len(piece)))] = piece


def double(data: bytearray, sources: Sequence[bytes], choice: random.Random) -> None:
    """A piece twice, or a few hundred times."""
    at = place(data, choice)
    piece = bytes(data[at : at + choice.randint(1, 2_048)])
    times = 1 if len(piece) > 64 or choice.random() < 0.8 else 300
    data[at:at] = piece * times


def lose(data: bytearray, sources: Sequence[bytes], choice: random.Random) -> None:
    """A piece less."""
    at = place(data, choice)
    del data[at : at + choice.randint(1, 2_048)]


def cut(data: bytearray, sources: Sequence[bytes], choice: random.Random) -> None:
    """The end less."""
    if choice.random() < 0.3:
        del data[choice.randrange(len(data) + 1) :]


CHANGES: tuple[Change, ...] = (flip_bits, flip_bits, overwrite, set_length, set_length, shift_length, splice, double, lose, cut)
