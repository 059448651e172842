"""`docs/sql.md` is so: every view and column is described, every recipe answers."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import featurestore
from featurestore import Reject
from featurestore.screens import keep
from featurestore.splits.schemes import split_dataset
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import snapshot
from featurestore.tables.schema import SCHEMAS
from featurestore.tables.vectors import read_columns
from featurestore.tables.writer import TableWriter
from tests import stores

TEXT = (Path(__file__).parents[1] / "docs" / "sql.md").read_text(encoding="utf-8")
VIEWS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL))
RECIPES = re.findall(r"^\*\*(\d+)\. .*?```sql\n(.*?)```", TEXT, re.MULTILINE | re.DOTALL)
EMPTY_ANSWERS = {"3"}  # nothing is missing


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two datasets under the names of the recipes, which share structures, with fitted and chosen runs."""
    root = tmp_path_factory.mktemp("docs") / "store"
    units = {"n": "dimensionless", "band_gap": "eV"}
    with pytest.MonkeyPatch.context() as patch:
        for name, unit in units.items():
            patch.setitem(stores.UNITS, name, unit)
        stores.add_dataset(root, "dielectric_constant", range(30), tuple(units))
        stores.add_dataset(root, "jarvis_3d", [*range(20, 40), *range(30, 35)], tuple(units))
    rename_entries(root, {"dielectric_constant-0": "mp-441", "dielectric_constant-1": "mp-22881"})
    stores.add_features(root, range(40))
    refused = [Reject(stores.structure_id(number), "too_large", "") for number in (3, 4)]
    stores.add_other_features(root, [n for n in range(40) if n not in (3, 4)], refused)
    split_dataset(root, "dielectric_constant", ["random"], [0])
    add_runs(root)
    add_screen(root)
    return featurestore.open(root)


def rename_entries(root, names):
    """Give entries of `dielectric_constant` the ids that the recipes name."""
    layout = StoreLayout(root)
    for kind in ("entries", "targets"):
        folder = layout.table(kind, "dielectric_constant")
        rows = read_columns(snapshot(folder).paths[0], SCHEMAS[kind].names).to_pylist()
        rows = [row | {"entry_id": names.get(row["entry_id"], row["entry_id"])} for row in rows]
        with TableWriter(folder, SCHEMAS[kind], "test") as writer:
            writer.retain([])
            writer.commit("renamed", pa.Table.from_pylist(rows, SCHEMAS[kind]))


def add_runs(root):
    """Keep a chosen run and Base, with their predictions and scores."""
    layout = StoreLayout(root)
    matrix = featurestore.open(root).matrix("dielectric_constant", "n", split=featurestore.SplitKey())
    place = {"dataset": "dielectric_constant", "property": "n"}
    common = {
        **place,
        "unit": "dimensionless",
        "scheme": "random",
        "created_at": datetime(2030, 1, 1, tzinfo=UTC),
    }
    common |= dict.fromkeys(("seed", "fold", "n_train", "n_val", "n_test"), 0)
    runs = [
        {
            "run_id": "r1",
            "method": "features",
            "head": "ridge",
            "feature_set": "atom_8",
            "val_mae": 0.1,
            **common,
        },
        {
            "run_id": "r2",
            "method": "features",
            "head": "nn17",
            "feature_set": "atom_8",
            "val_mae": 0.2,
            **common,
        },
        {"run_id": "r0", "method": "base", "val_mae": 1.0, **common},
    ]
    stores.write(layout.runs("dielectric_constant"), "runs", pa.Table.from_pylist(runs, SCHEMAS["runs"]))
    said = [
        {"run_id": "r1", **place, "entry_id": entry, "part": part, "prediction": y + i}
        for i, (entry, part, y) in enumerate(zip(matrix.entry_ids, matrix.part, matrix.y, strict=True))
    ]
    stores.write(
        layout.predictions("dielectric_constant"),
        "predictions",
        pa.Table.from_pylist(said, SCHEMAS["predictions"]),
    )
    scores = [
        {"run_id": run, **place, "part": "test", "role": role, "mae": 1.0, "n": 3}
        for run, role in (("r1", "chosen"), ("r0", "base"))
    ]
    stores.write(layout.scores, "scores", pa.Table.from_pylist(scores, SCHEMAS["scores"]))


def add_screen(root):
    """Keep a screening of three structures, the second of which is the nearest to its window."""
    facts = {"screen": "glass", "model": "dielectric_constant/n", "model_sha256": "0", "unit": ""}
    facts["made_at"] = datetime(2030, 1, 1, tzinfo=UTC)
    facts |= {"value": 1.5, "domain": "inside", "percentile": 10.0}
    rows = [
        facts | {"rank": rank, "structure_id": stores.structure_id(number), "chance": 1 - rank / 10}
        for rank, number in ((1, 2), (2, 1), (3, 35))
    ]
    keep(StoreLayout(root), "glass", pa.Table.from_pylist(rows, SCHEMAS["screens"]))


def described(view):
    """The columns that the document gives a view, ranges written out, and their types."""
    columns = []
    for first, kind in re.findall(r"^\| (`.*?) \| (.*?) \|", VIEWS[view], re.MULTILINE):
        names = re.findall(r"`(\w+)`", first)
        if "…" in first:
            stem, last = names[1].rsplit("_", 1)
            names = [f"{stem}_{i}" for i in range(int(last) + 1)]
        columns += [(name, kind) for name in names]
    return columns


def test_every_view_is_described_column_by_column(store):
    views = {
        name
        for (name,) in store.connection.sql(
            "SELECT view_name FROM duckdb_views() WHERE NOT internal"
        ).fetchall()
        if not name.startswith("stored_")
    }
    of_sources = {f"features_{name}" for name in store.sources}
    assert set(VIEWS) == views - of_sources | {"features_SOURCE"}
    for view in set(VIEWS) - {"features_SOURCE", "joined"}:
        found = store.sql(f'FROM "{view}"')
        assert described(view) == list(zip(found.columns, map(str, found.types), strict=True)), view


def test_the_views_that_follow_the_source_models_are_as_described(store):
    for source in store.sources.values():
        found = store.sql(f'FROM "features_{source.name}"')
        columns = dict(zip(found.columns, map(str, found.types), strict=True))
        assert dict(described("features_SOURCE")).items() <= columns.items()
        rest = [name for name in columns if name not in dict(described("features_SOURCE"))]
        assert rest == [*source.counts, *(checkpoint.name for checkpoint in source.checkpoints)]
    first, *others = zip(
        *(getattr(store.sql("FROM joined"), part) for part in ("columns", "types")), strict=True
    )
    assert described("joined") == [(first[0], str(first[1])), ("SOURCE__CHECKPOINT", "FLOAT[WIDTH]")]
    assert [(name, str(kind)) for name, kind in others] == [
        ("synthetic__atom_8", "FLOAT[256]"),
        ("synthetic__bond_8", "FLOAT[256]"),
        ("synthetic__angle_4", "FLOAT[256]"),
        ("other__site_2", "FLOAT[8]"),
        ("other__pair_1", "FLOAT[6]"),
    ]


def test_there_are_recipes_enough():
    assert [int(number) for number, _ in RECIPES] == list(range(1, len(RECIPES) + 1))
    assert len(RECIPES) >= 12
    assert len(RECIPES) == TEXT.count("```sql")


@pytest.mark.parametrize(("number", "query"), RECIPES, ids=[number for number, _ in RECIPES])
def test_every_recipe_answers(store, number, query):
    params = [[0.0] * 256] * query.count("?")
    answer = store.sql(query, params).fetchall()
    assert bool(answer) is (number not in EMPTY_ANSWERS)


def test_recipes_find_what_they_say(store):
    by_number = dict(RECIPES)
    shared = store.sql(by_number["2"]).fetchall()
    assert {tuple(row[2]) for row in shared} == {("dielectric_constant", "jarvis_3d")}
    assert len(shared) == 10
    assert store.sql(by_number["12"]).fetchall()[0][4] == "ridge"
    wrong = [abs(row[4] - row[3]) for row in store.sql(by_number["8"]).fetchall()]
    assert wrong == sorted(wrong, reverse=True)
    distances = sorted({row[3] for row in store.sql(by_number["5"]).fetchall()})
    assert {tuple(row[2]) for row in store.sql(by_number["17"]).fetchall()} == {("synthetic",)}
    nearest = store.near("mp-441", len(distances), metric="cosine")["distance"].to_pylist()
    assert distances == pytest.approx(nearest, rel=1e-4)
