"""A file descriptor as the reader libav wants."""

import os


class DescriptorReader:
    """Reads a descriptor at a position of its own.

    It has no `name`: given a file object with one, libav opens what playlists and SDP point at. It never moves the
    descriptor's shared offset, so two runs may read one descriptor. Made before the child is confined: the filter
    lets no process ask for a file's size.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.position = 0
        self.size_bytes = os.fstat(descriptor).st_size

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        block = os.pread(self.descriptor, size, self.position)
        self.position += len(block)
        return block

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The new position."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size_bytes}[whence]
        if origin + offset < 0:
            raise ValueError("the position is before the start")
        self.position = origin + offset
        return self.position

    def tell(self) -> int:
        """The position."""
        return self.position

    def head(self, size: int) -> bytes:
        """The first bytes, without moving."""
        return os.pread(self.descriptor, size, 0)

    def tail(self, size: int) -> bytes:
        """The last bytes, without moving."""
        return os.pread(self.descriptor, size, max(0, self.size_bytes - size))
