"""Ogg pages: their clock and their checksums. Layout: RFC 3533."""

from collections.abc import Iterator, Sequence

GRANULE, CHECKSUM, SEGMENTS = 6, 22, 26
POLYNOMIAL = 0x04C11DB7


def crc_table(polynomial: int, bits: int) -> list[int]:
    """The table of a checksum that takes the highest bit first."""
    top, mask = 1 << (bits - 1), (1 << bits) - 1
    table = []
    for value in range(256):
        crc = value << (bits - 8)
        for _ in range(8):
            crc = (crc << 1 ^ polynomial if crc & top else crc << 1) & mask
        table.append(crc)
    return table


def crc(data: bytes, table: Sequence[int], bits: int) -> int:
    """The checksum of the data, from zero."""
    shift, mask, value = bits - 8, (1 << bits) - 1, 0
    for byte in data:
        value = (value << 8 & mask) ^ table[value >> shift ^ byte]
    return value


def pages(data: bytes) -> Iterator[bytes]:
    """The pages of an Ogg file that is whole in its form."""
    at = 0
    while at < len(data):
        count = data[at + SEGMENTS]
        end = at + SEGMENTS + 1 + count + sum(data[at + SEGMENTS + 1 : at + SEGMENTS + 1 + count])
        yield data[at:end]
        at = end


def with_checksum(page: bytes, table: Sequence[int]) -> bytes:
    """The page with the checksum of its bytes."""
    blank = page[:CHECKSUM] + bytes(4) + page[CHECKSUM + 4 :]
    return blank[:CHECKSUM] + crc(blank, table, 32).to_bytes(4, "little") + blank[CHECKSUM + 4 :]


def with_checksums(data: bytes) -> bytes:
    """The file with checksums that fit."""
    table = crc_table(POLYNOMIAL, 32)
    return b"".join(with_checksum(page, table) for page in pages(data))


def with_granules(data: bytes, granules: Sequence[int]) -> bytes:
    """The file with these positions in turn on all pages but the two of the header."""
    told = [
        page if number < 2 else page[:GRANULE] + (granules[number % len(granules)] % (1 << 64)).to_bytes(8, "little") + page[GRANULE + 8 :]
        for number, page in enumerate(pages(data))
    ]
    return with_checksums(b"".join(told))


def page(serial: int, sequence: int, granule: int, packets: Sequence[bytes], flags: int = 0) -> bytes:
    """A page of at most 255 packets shorter than 255 bytes, without its checksum."""
    lacing = bytes(len(packet) for packet in packets)
    head = b"OggS\0" + bytes([flags]) + granule.to_bytes(8, "little") + serial.to_bytes(4, "little") + sequence.to_bytes(4, "little")
    return head + bytes(4) + bytes([len(packets)]) + lacing + b"".join(packets)
