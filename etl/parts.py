"""Parts of the work of `extract` that any number of processes can do at once: `--shard i/N`."""

import hashlib
import re
from dataclasses import dataclass
from typing import Self

from core.errors import StrataError

_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Part:
    """Part `number` of `of`, counted from 1. Every structure is in exactly one of them.

    >>> part = Part.parse("2/8")
    >>> [Part(number, 3).holds("a structure's id") for number in (1, 2, 3)].count(True)
    1
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `i/N`; raises `StrataError` for anything but 1 ≤ i ≤ N."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
        number, of = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= of <= _MOST:
            raise StrataError(
                f"--shard {text}: expected i/N, two whole numbers of which i goes from 1 to N (at most "
                f"{_MOST:,}), such as 2/8 for the second of eight"
            )
        return cls(number, of)

    def holds(self, structure_id: str) -> bool:
        """Tell whether a structure is in this part."""
        return number_of(structure_id, self.of) == self.number

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def number_of(structure_id: str, of: int) -> int:
    """Return which of `of` parts a structure is in, from 1. A hash makes them about equally large."""
    return int.from_bytes(hashlib.sha256(structure_id.encode()).digest()[:8]) % of + 1
