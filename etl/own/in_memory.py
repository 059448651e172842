"""A data frame in memory, written to a file that the pipeline can read again."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.atomic import whole_file
from core.errors import StrataError, unknown
from core.structure import InvalidStructure
from etl.own.kind import COMPOSITION_NAMES, ID_NAMES, INDEX_OF_PANDAS, SPLIT_NAME, composition_of
from zoo.given import as_structure, is_structure

if TYPE_CHECKING:
    import pandas as pd


def write_frame(
    frame: "pd.DataFrame", path: Path, columns: Sequence[str], id_column: str | None, vacuum: float
) -> bool:
    """Write the columns of a frame that are needed as Parquet; tell whether its index became the ids.

    Kept are those named, one of structures or else of formulas, ids, and a column `split`. Structures become
    dictionaries of jarvis-tools; one that cannot be used becomes the reason, and a reject later. Molecules of
    ASE are boxed with `vacuum` Å. The index is kept where no column has ids and it is more than 0, 1, 2, ….

    Raises `StrataError` for a column that is not there or stands twice, and for a frame without structures
    and formulas.
    """
    import pandas as pd

    names = [str(name) for name in frame.columns]
    for name in names:
        if names.count(name) > 1:
            raise StrataError(f"two columns of the frame are named {name!r}; rename one")
    if not len(frame):
        raise StrataError(f"the frame has no rows; its columns are {', '.join(names)}")
    frame = frame.set_axis(names, axis="columns")
    for name in (*columns, *([id_column] if id_column else [])):
        if name not in names:
            raise unknown("column", name, names, "the frame")
    structures = next((name for name in names if any(map(is_structure, frame[name]))), None)
    formulas = composition_of(names)
    described = structures if structures is not None else formulas
    if described is None:
        raise StrataError(
            "no column of the frame has structures (of pymatgen, ASE or jarvis-tools), and none is named "
            f"{' or '.join(COMPOSITION_NAMES)}; its columns are {', '.join(names)}"
        )
    ids = id_column or next((name for name in ID_NAMES if name in names and name != described), None)
    split = next((name for name in names if name.lower() == SPLIT_NAME), None)
    kept = [described, *columns, *(name for name in (ids, split) if name is not None)]
    table = frame[list(dict.fromkeys(kept))].copy()
    for name in table.columns:
        cells = map(_written, table[name], [vacuum] * len(table)) if name == structures else table[name]
        table[name] = _plain(list(cells), table[name])
    has_index = ids is None and not isinstance(frame.index, pd.RangeIndex)
    if has_index:
        table[INDEX_OF_PANDAS] = [str(label) for label in frame.index]
    with whole_file(path) as temporary:
        table.to_parquet(temporary, index=False)
    return has_index


def _plain(cells: list[Any], before: "pd.Series[Any]") -> Any:
    """Keep a column of one kind as it is; of several kinds, such as numbers and '>5', make text."""
    if before.dtype.kind in "biuf":
        return before
    return [
        None if cell is None or cell != cell else (cell if isinstance(cell, str) else str(cell))  # noqa: PLR0124 - NaN
        for cell in cells
    ]


def _written(cell: Any, vacuum: float) -> str | None:
    if not is_structure(cell):
        return None if cell is None or cell != cell else str(cell)[:60]  # noqa: PLR0124 - NaN
    try:
        return json.dumps(as_structure(cell, vacuum).to_jarvis_dict())
    except InvalidStructure as error:
        return f"{error.code}: {error}"
