"""An object that is read by ranges, as if it were a file."""

import io
from collections.abc import Callable

END = 1 << 16  # bytes at the end of a Parquet file that are read together: its footer
_AHEAD = 1 << 18  # bytes that are read together elsewhere, at least


class Piece:
    """Bytes of a file that are in memory, addressed as they lie in the file."""

    def __init__(self, start: int, content: memoryview) -> None:
        self.start, self.content = start, content

    def pread(self, size: int, offset: int) -> memoryview:
        """Return up to `size` bytes from `offset` of the file."""
        return self.content[max(0, offset - self.start) : offset - self.start + size]


class Ranges(io.RawIOBase):
    """A file of `size` bytes of which `read(start, stop)` fetches a range; `end`: its last bytes."""

    def __init__(self, read: Callable[[int, int], bytes], size: int, end: Piece | None = None) -> None:
        super().__init__()
        self._read, self.size = read, size
        self._at = 0
        self._end = end or Piece(size, memoryview(b""))
        self._held = Piece(0, memoryview(b""))

    def piece(self, start: int, length: int) -> Piece:
        """Fetch a range whole."""
        return Piece(start, memoryview(self._read(start, min(start + length, self.size))))

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        """Fill `buffer` from where the file stands; the range is read with some of what follows."""
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self.size - self._at)
        if wanted <= 0:
            return 0
        held = self._end if self._at >= self._end.start else self._held
        if not (held.start <= self._at and self._at + wanted <= held.start + len(held.content)):
            held = self._held = self.piece(self._at, max(wanted, _AHEAD))
        view[:wanted] = held.pread(wanted, self._at)
        self._at += wanted
        return wanted

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Stand elsewhere."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        return self._at

    def tell(self) -> int:
        """Return where the file stands."""
        return self._at

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True
