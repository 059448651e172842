"""How fast the store answers and how large it is, against a plain array, CSV files and other encodings.

    python bench/store.py [--rows 36000] [--json out.json]      # speed, on a store made up for it
    STRATA_RAW=... python bench/store.py --encodings [--json …]   # size and its effect on heads, real vectors

The second needs the extras `extract` and the raw file of `dielectric_constant`. Medians of `--repeat` runs
after one that is not counted; everything is in the page cache.
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.query.store import open_store
from featurestore.tables.layout import StoreLayout
from featurestore.tables.maintenance import compact, verify
from featurestore.tables.schema import EXTRACTIONS, SCHEMAS, features_schema
from featurestore.tables.writer import TableWriter
from zoo.backbones.alignn.backbone import ALIGNN

EXTRACTION = "0123456789abcdef"
SOURCE = "alignn_mp_eform"  # whose shape the made-up vectors have
CHECKPOINTS, WIDTH = ALIGNN().checkpoints, ALIGNN().architecture.hidden_features
FEATURES = features_schema(ALIGNN.counts, CHECKPOINTS)
SHARD = 2048  # structures, as `strata extract` commits them
SET = "last"
CSV_FILES = 500  # read, and scaled up


def main() -> None:
    """Run one of the two parts and print, or write, its figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=36_000)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--encodings", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = encodings(Path(folder)) if given.encodings else speed(Path(folder), given.rows, given.repeat)
    text = json.dumps({"machine": machine(), **found}, indent=1)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")
    print(text)


def machine() -> dict[str, Any]:
    """Say where the figures come from; the load tells whether others worked on it meanwhile."""
    processor = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(
            (line.split(":")[1].strip() for line in lines if line.startswith("model name")), processor
        )
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "load": [round(load, 1) for load in os.getloadavg()],
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "pyarrow", "duckdb", "pandas")},
    }


def median(call: Callable[[], object], repeat: int) -> float:
    """Return the median seconds of a call, once warm."""
    call()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return round(statistics.median(seconds), 4)


def medians(calls: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Return the median seconds of each call, taken in turns: other work on the machine slows all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeat + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: round(statistics.median(found), 4) for name, found in seconds.items()}


def speed(folder: Path, rows: int, repeat: int) -> dict[str, Any]:
    """Measure `matrix`, neighbours and maintenance."""
    root = folder / "store"
    make_store(root, rows)
    plain = open_store(root)
    X = plain.matrix("d", "e", SET).X
    np.save(folder / "X.npy", X)
    cached = open_store(root, cache=True)
    cached.matrix("d", "e", SET)
    seconds = medians(
        {
            "numpy_load": lambda: np.load(folder / "X.npy"),
            "matrix": lambda: plain.matrix("d", "e", SET),
            "matrix_cached": lambda: cached.matrix("d", "e", SET),
            "nearest_10": lambda: plain.near("e-7", 10),
            "nearest_10_sql": lambda: nearest_by_sql(plain),
            "open": lambda: open_store(root),
        },
        repeat,
    )
    seconds |= {
        "matrix_first": first(lambda: open_store(root), lambda store: store.matrix("d", "e", SET), repeat),
        "matrix_cached_first": first(
            lambda: open_store(root, cache=True), lambda store: store.matrix("d", "e", SET), repeat
        ),
        "csv": csv_seconds(folder, X),
        "verify": median(lambda: verify(root), 1),
    }
    small = root_bytes(root)
    start = time.perf_counter()
    compact(root)
    seconds["compact"] = round(time.perf_counter() - start, 2)
    joined = open_store(root)
    assert np.array_equal(joined.matrix("d", "e", SET).X, X)
    again = medians(
        {"numpy": lambda: np.load(folder / "X.npy"), "matrix": lambda: joined.matrix("d", "e", SET)}, repeat
    )
    seconds |= {"matrix_compacted": again["matrix"], "numpy_load_beside_it": again["numpy"]}
    return {"rows": rows, "columns": X.shape[1], "bytes": small, "seconds": seconds}


def first(before: Callable[[], Any], call: Callable[[Any], object], repeat: int) -> float:
    """Return the median seconds of a call on a store opened for it, without the opening."""
    seconds = []
    for _ in range(repeat):
        store = before()
        start = time.perf_counter()
        call(store)
        seconds.append(time.perf_counter() - start)
    return round(statistics.median(seconds), 4)


def nearest_by_sql(store: Any) -> list[Any]:
    """Ask for the ten nearest in plain SQL."""
    found: list[Any] = store.sql(
        "WITH one AS (SELECT atom_8 AS v FROM features JOIN entries USING (structure_id) "
        "WHERE entry_id = 'e-7') SELECT structure_id, array_distance(atom_8, v) AS d FROM features, one "
        "ORDER BY d LIMIT 10"
    ).fetchall()
    return found


def csv_seconds(folder: Path, X: np.ndarray) -> float:
    """Read one CSV a structure, as the published code writes them, and scale to all rows."""
    count = min(CSV_FILES, len(X))
    files = [folder / f"{i}.csv" for i in range(count)]
    for file, row in zip(files, X, strict=False):
        pd.DataFrame(row[None]).to_csv(file, index=False)
    start = time.perf_counter()
    np.concatenate([pd.read_csv(file).to_numpy(np.float32) for file in files])
    return round((time.perf_counter() - start) / count * len(X), 1)


def root_bytes(root: Path) -> int:
    """Return the size of all vectors."""
    return sum(path.stat().st_size for path in StoreLayout(root).features(SOURCE).glob("*.parquet"))


def make_store(root: Path, rows: int) -> None:
    """Write a store of random vectors: one dataset, one property."""
    layout, rng = StoreLayout(root), np.random.default_rng(0)
    ids = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(rows)]
    names = [f"e-{i}" for i in range(rows)]
    commit(
        layout.entries("d"),
        "entries",
        {"dataset": ["d"] * rows, "entry_id": names, "structure_id": ids, "position": range(rows)},
    )
    commit(
        layout.targets("d"),
        "targets",
        {
            "dataset": ["d"] * rows,
            "property": ["e"] * rows,
            "entry_id": names,
            "structure_id": ids,
            "value": rng.standard_normal(rows),
            "unit": ["eV"] * rows,
        },
    )
    one = {"formula": "Si", "n_atoms": 1, "volume": 27.0, "lattice": [3.0, 0, 0] * 3, "numbers": [14]}
    commit(
        layout.structures("d"),
        "structures",
        {"structure_id": ids, **{k: [v] * rows for k, v in one.items()}, "frac_coords": [[0.0] * 3] * rows},
    )
    describe(layout)
    with TableWriter(layout.features(SOURCE), FEATURES, "bench") as writer:
        for start in range(0, rows, SHARD):
            some = ids[start : start + SHARD]
            writer.commit(str(start), vectors(some, rng), (), {"extraction_id": EXTRACTION})


def describe(layout: StoreLayout) -> None:
    """Write the row that says what the vectors are."""
    from etl.extract import describe as write

    with TableWriter(layout.extractions(SOURCE), EXTRACTIONS, "bench") as writer:
        write(writer, ALIGNN(), {"source_model": SOURCE, "extraction_id": EXTRACTION}, is_default=True)


def commit(folder: Path, kind: str, columns: dict[str, Any]) -> None:
    """Write one table as one shard."""
    with TableWriter(folder, SCHEMAS[kind], "bench") as writer:
        writer.commit("all", pa.Table.from_pydict(columns, SCHEMAS[kind]))


def vectors(ids: list[str], rng: np.random.Generator) -> pa.Table:
    """Return a shard of random vectors."""
    n = len(ids)
    columns: dict[str, Any] = {
        "structure_id": ids,
        "extraction_id": [EXTRACTION] * n,
        "source_model": [SOURCE] * n,
        **{field.name: [1] * n for field in FEATURES if field.type == pa.int64()},
        "prediction": pa.array(np.zeros(n, np.float32)),
    }
    for checkpoint in CHECKPOINTS:
        flat = rng.standard_normal(n * WIDTH, dtype=np.float32)
        columns[checkpoint.name] = pa.FixedSizeListArray.from_arrays(
            pa.array(flat), type=FEATURES.field(checkpoint.name).type
        )
    return pa.Table.from_pydict(columns, FEATURES)


def encodings(folder: Path) -> dict[str, Any]:
    """Measure bytes a structure, reading and SQL of each encoding, and what half precision does to heads."""
    from core.params import Params
    from etl.extract import extract
    from etl.ingest import ingest
    from featurestore.splits.schemes import split_dataset

    params = Params.model_validate(
        {"datasets": ["dielectric_constant"], "extract": {"workers": 0, "threads": 1}}
    )
    root = folder / "store"
    ingest("dielectric_constant", params, root)
    extract(params, root)
    split_dataset(root, "dielectric_constant", ["random"], [0, 1, 2])
    store = open_store(root)
    table = store.sql(
        f"SELECT structure_id, {', '.join(c.name for c in CHECKPOINTS)} FROM features"
    ).to_arrow_table()
    numbers = {
        c.name: table[c.name].combine_chunks().flatten().to_numpy().reshape(-1, WIDTH) for c in CHECKPOINTS
    }
    found = [encoding(folder, name, numbers) for name in ENCODINGS]
    return {"structures": table.num_rows, "encodings": found, "half": half_precision(store)}


PLAIN: dict[str, Any] = {"compression": "none", "use_dictionary": False}
SPLIT: dict[str, Any] = {"use_dictionary": False, "use_byte_stream_split": True}
ENCODINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "float32 list, plain (ours)": ("float32", PLAIN),
    "float32 list, zstd": ("float32", {"compression": "zstd", "use_dictionary": False}),
    "float32 list, byte-stream-split": ("float32", {"compression": "none", **SPLIT}),
    "float32 list, byte-stream-split, zstd": ("float32", {"compression": "zstd", **SPLIT}),
    "float32 fixed-width binary": ("binary", PLAIN),
    "float16 list, plain": ("float16", PLAIN),
    "float16 list, zstd": ("float16", {"compression": "zstd", "use_dictionary": False}),
    "float16 list, byte-stream-split, zstd": ("float16", {"compression": "zstd", **SPLIT}),
}


def encoding(folder: Path, name: str, numbers: dict[str, np.ndarray]) -> dict[str, Any]:
    """Write all vectors in one encoding; read three columns of 36 copies."""
    kind, options = ENCODINGS[name]
    path = folder / "x.parquet"
    table = pa.table({column: column_of(values, kind) for column, values in numbers.items()})
    pq.write_table(table, path, write_statistics=False, write_page_checksum=True, **options)
    columns = ["atom_8", "bond_8", "angle_4"]
    times = round(36_000 / table.num_rows)

    def read() -> None:
        for _ in range(times):
            pq.ParquetFile(path, page_checksum_verification=True, memory_map=True).read(
                columns, use_threads=False
            )

    asked = f"SELECT count(*) FROM (SELECT array_distance(atom_8::FLOAT[256], bond_8::FLOAT[256]) d FROM '{path}') WHERE d > 0"  # noqa: E501
    try:
        sql = median(lambda: [duckdb.sql(asked).fetchall() for _ in range(times)], 3)
    except duckdb.Error:
        sql = None
    return {
        "name": name,
        "bytes_per_structure": round(path.stat().st_size / table.num_rows),
        "read_36k_seconds": median(read, 3),
        "sql_36k_seconds": sql,
    }


def column_of(values: np.ndarray, kind: str) -> pa.Array:
    """Return one checkpoint in the Arrow type of an encoding."""
    if kind == "binary":
        return pa.Array.from_buffers(
            pa.binary(4 * WIDTH), len(values), [None, pa.py_buffer(values.tobytes())]
        )
    dtype, item = (np.float32, pa.float32()) if kind == "float32" else (np.float16, pa.float16())
    flat = pa.array(values.astype(dtype).reshape(-1), item)
    return pa.FixedSizeListArray.from_arrays(
        flat, type=pa.list_(pa.field("element", item, nullable=False), WIDTH)
    )


def half_precision(store: Any) -> list[dict[str, Any]]:
    """Fit heads on vectors as they are and rounded to float16; test MAE, mean of three splits."""
    from heads.lightgbm import LightGBM
    from heads.ridge import Ridge

    rows = []
    for name, unit in store.properties("dielectric_constant").items():
        for make in (Ridge, LightGBM):
            errors: dict[str, list[float]] = {"float32": [], "float16": []}
            for seed in range(3):
                data = store.matrix("dielectric_constant", name, SET, split=f"random:{seed}")
                parts = {part: data.part == part for part in ("train", "val", "test")}
                for kind, wrong in errors.items():
                    X = data.X.astype(kind).astype(np.float32)
                    head = make().fit(
                        X[parts["train"]], data.y[parts["train"]], X[parts["val"]], data.y[parts["val"]]
                    )
                    apart = head.predict(X[parts["test"]]) - data.y[parts["test"]]
                    wrong.append(float(np.abs(apart).mean()))
            full, half = (float(np.mean(errors[kind])) for kind in ("float32", "float16"))
            changes = [abs(b / a - 1) for a, b in zip(errors["float32"], errors["float16"], strict=True)]
            rows.append(
                {
                    "property": name,
                    "unit": unit,
                    "head": make.__name__,
                    "float32": full,
                    "float16": half,
                    "change_percent": round(100 * (half / full - 1), 3),
                    "largest_percent": round(100 * max(changes), 3),
                }
            )
    return rows


if __name__ == "__main__":
    main()
