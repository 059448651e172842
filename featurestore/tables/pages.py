"""The quickest way to a column of vectors: plain pages read as they lie, each after its checksum.

A list column through a Parquet library costs ten times a plain copy, because every number's place in its
list is decoded (bench/results/store.md). The pages that the writer makes need none of that:
uncompressed, plain, as many numbers per row and never NULL, so the numbers are the last bytes of each page. A
column that is not of this form is left to pyarrow.
"""

import os
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from featurestore.tables.ranges import Piece

_DATA_PAGE, _DATA_PAGE_V2, _PLAIN = 0, 3, 0  # PageType and Encoding of the Parquet format
_V2_FIELD = 8  # of a page header: what only a page of version 2 has
_STOP, _TRUE, _FALSE, _BYTE, _BINARY, _STRUCT = 0, 1, 2, 3, 8, 12  # types of the Thrift compact protocol
_INTEGERS = (4, 5, 6)
_LONGEST_HEADER = 1024  # bytes; ours have 25


class CorruptPageError(ValueError):
    """A page is not what was written."""


class Page(NamedTuple):
    """Where the body of one page lies, and what is in it."""

    start: int
    size: int
    checksum: int
    rows: int


def plain_pages(file: int | Piece, chunk: Any, width: int) -> list[Page] | None:
    """Find the pages of one column chunk, or return None where it is of another form.

    `file` is an open file's descriptor, or a piece of it that is in memory; `chunk` is pyarrow's metadata of
    the column chunk, `width` the numbers per row. Only page headers are read. Raises `CorruptPageError` where
    they and the footer do not agree.
    """
    if (
        chunk.compression != "UNCOMPRESSED"
        or chunk.physical_type != "FLOAT"
        or chunk.has_dictionary_page
        or not set(chunk.encodings) <= {"PLAIN", "RLE"}
    ):
        return None
    pages = []
    offset, end = chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
    while offset < end:
        header = _bytes(file, min(_LONGEST_HEADER, end - offset), offset)
        try:
            fields, length = _struct(header, 0)
            if fields[1] == _DATA_PAGE_V2 and _V2_FIELD in fields:
                return None
            kind, size, checksum, values = fields[1], fields[3], fields[4], fields[5][1]
            encoding = fields[5][2]
        except (IndexError, KeyError, TypeError) as error:
            raise CorruptPageError(f"the page header at byte {offset:,} cannot be read") from error
        if kind != _DATA_PAGE or encoding != _PLAIN:
            raise CorruptPageError(f"the page header at byte {offset:,} is at odds with the footer")
        if values % width:
            return None
        if not 4 * values <= size <= end - offset - length:
            raise CorruptPageError(f"the page at byte {offset:,} reaches beyond its column")
        pages.append(Page(offset + length, size, checksum & 0xFFFFFFFF, values // width))
        offset += length + size
    if width * sum(page.rows for page in pages) != chunk.num_values:
        raise CorruptPageError("the pages of a column hold another number of rows than the footer says")
    return pages


def load(file: int | Piece, page: Page, width: int, buffer: bytearray) -> NDArray[np.float32]:
    """Read one page into `buffer` and return its (rows, width) numbers, a view that the next call overwrites.

    Raises `CorruptPageError` where the checksum does not match.
    """
    if isinstance(file, Piece):
        body = file.pread(page.size, page.start)
    else:
        if len(buffer) < page.size:
            buffer[:] = bytes(page.size)
        body = memoryview(buffer)[: os.preadv(file, [memoryview(buffer)[: page.size]], page.start)]
    if len(body) != page.size or zlib.crc32(body) != page.checksum:
        raise CorruptPageError(f"the page at byte {page.start:,} does not match its checksum")
    count = width * page.rows
    return np.frombuffer(body, "<f4", count, page.size - 4 * count).reshape(-1, width)


def _bytes(file: int | Piece, size: int, offset: int) -> bytes:
    return bytes(file.pread(size, offset)) if isinstance(file, Piece) else os.pread(file, size, offset)


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Read one Thrift struct in the compact protocol: field number → value, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while (head := data[at]) != _STOP:
        at += 1
        kind = head & 15
        if head >> 4:
            number += head >> 4
        else:
            number, at = _integer(data, at)
        if kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        elif kind == _BYTE:
            fields[number], at = data[at], at + 1
        elif kind in _INTEGERS:
            fields[number], at = _integer(data, at)
        elif kind == _BINARY:
            size, at = _varint(data, at)
            fields[number], at = data[at : at + size], at + size
        elif kind == _STRUCT:
            fields[number], at = _struct(data, at)
        else:
            raise TypeError(f"a page header has no fields of type {kind}")
    return fields, at + 1


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise TypeError("a number in a page header has no end")


def _integer(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at  # zigzag
