"""A table written to a file piece by piece: CSV, JSON, Parquet or Excel, by the ending of its name.

What is written lies beside the file under another name, and takes its place at the end.
"""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from core.errors import StrataError, unknown
from core.lazy import need

if TYPE_CHECKING:
    import pandas as pd

ENDINGS = (".csv", ".json", ".parquet", ".xlsx")
_EXCEL_ROWS = 1_048_575  # beside the header
_UNSHOWN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # no XML may hold them


class TableFile:
    """Write frames of the same columns one after another into one file.

    Raises `StrataError` for another ending, a folder that is not there and a disk that cannot be written.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in ENDINGS:
            raise unknown("kind of table", path.suffix or path.name, ENDINGS, str(path))
        if not path.parent.is_dir():
            raise StrataError(f"cannot write {path}: there is no folder {path.parent}")
        if path.is_dir():
            raise StrataError(f"cannot write {path}: it is a folder")
        self.path = path
        self.rows = 0
        self._part = path.with_name(f".{path.name}.part")
        self._append: Callable[[pd.DataFrame], None] | None = None
        self._close: Callable[[], None] = lambda: None
        self._drop: Callable[[], None] | None = None  # in place of closing, where nothing is kept

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            drop = self._close if kind is None or self._drop is None else self._drop
            drop()
            if kind is None and self._append is not None:
                self._part.replace(self.path)
        except OSError as failure:
            raise self._unwritable(failure) from failure
        finally:
            self._part.unlink(missing_ok=True)

    def append(self, frame: "pd.DataFrame") -> None:
        """Write the rows of a frame; the first one decides the columns."""
        try:
            if self._append is None:
                begin = {
                    ".csv": self._csv,
                    ".json": self._json,
                    ".parquet": self._parquet,
                    ".xlsx": self._xlsx,
                }
                self._append = begin[self.path.suffix.lower()](frame)
            self._append(frame)
        except OSError as failure:
            raise self._unwritable(failure) from failure
        self.rows += len(frame)

    def _unwritable(self, failure: OSError) -> StrataError:
        return StrataError(f"cannot write {self.path}: {failure.strerror or failure}")

    def _csv(self, first: "pd.DataFrame") -> Callable[["pd.DataFrame"], None]:
        file = self._part.open("w", encoding="utf-8", newline="")
        self._close = file.close
        first.head(0).to_csv(file, index=False, lineterminator="\n")
        return lambda frame: frame.to_csv(file, index=False, header=False, lineterminator="\n")

    def _json(self, _first: "pd.DataFrame") -> Callable[["pd.DataFrame"], None]:
        file = self._part.open("w", encoding="utf-8")
        file.write("[")

        def append(frame: "pd.DataFrame") -> None:
            for i, row in enumerate(frame.to_dict("records")):
                record = {name: _plain(value) for name, value in row.items()}
                start = ",\n" if i or self.rows else "\n"
                file.write(start + json.dumps(record, ensure_ascii=False))

        def close() -> None:
            file.write("\n]\n")
            file.close()

        self._close = close
        return append

    def _parquet(self, first: "pd.DataFrame") -> Callable[["pd.DataFrame"], None]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {"f": pa.float64(), "i": pa.int64(), "b": pa.bool_()}
        schema = pa.schema([(name, kinds.get(kind.kind, pa.string())) for name, kind in first.dtypes.items()])
        writer = pq.ParquetWriter(self._part, schema)
        self._close = writer.close
        return lambda frame: writer.write_table(
            pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
        )

    def _xlsx(self, first: "pd.DataFrame") -> Callable[["pd.DataFrame"], None]:
        book = need("openpyxl", "excel").Workbook(write_only=True)
        sheet = book.create_sheet("predictions")
        sheet.append([_cell(sheet, name) for name in first.columns])

        def append(frame: "pd.DataFrame") -> None:
            if self.rows + len(frame) > _EXCEL_ROWS:
                raise StrataError(f"{self.path}: Excel holds {_EXCEL_ROWS:,} rows; write .csv or .parquet")
            for row in frame.itertuples(index=False):
                sheet.append([_cell(sheet, value) for value in row])

        def close() -> None:
            sheet.close()
            book.save(self._part)

        self._close, self._drop = close, sheet.close
        return append


def _plain(value: Any) -> Any:
    """Return what JSON can say of a cell; NaN and infinities become null."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(sheet: Any, value: Any) -> Any:
    """Return what Excel can show of a cell; a text that begins as a formula does stays a text."""
    plain = _plain(value)
    if not isinstance(plain, str):
        return plain
    from openpyxl.cell import WriteOnlyCell

    cell = WriteOnlyCell(sheet, _UNSHOWN.sub("\ufffd", plain))
    cell.data_type = "s"
    return cell
