"""Runs copied from another store: whole, once, or not at all."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from core.errors import StrataError
from featurestore import StoreLayout, TableWriter
from featurestore.runs_import import Lenders
from featurestore.tables.schema import SCHEMAS

DATASET = "alpha"
MODEL = "runs/alpha/models/one"


def place(layout, kind):
    return layout.table(kind, DATASET)


def writers(root):
    layout = StoreLayout(root)
    return (
        TableWriter(layout.predictions(DATASET), SCHEMAS["predictions"], "fit"),
        TableWriter(layout.runs(DATASET), SCHEMAS["runs"], "fit"),
    )


def filled(kind, **values):
    """A row with a value in every column that needs one."""
    made = {pa.string(): "x", pa.float64(): 0.5}
    return {
        field.name: values.get(field.name, made.get(field.type, 1))
        for field in SCHEMAS[kind]
        if not pa.types.is_timestamp(field.type)
    } | {field.name: datetime.now(UTC) for field in SCHEMAS[kind] if pa.types.is_timestamp(field.type)}


@pytest.fixture
def lender(tmp_path):
    root = tmp_path / "lender"
    (root / MODEL).mkdir(parents=True)
    (root / MODEL / "head.json").write_text("{}")
    with writers(root)[0] as predictions, writers(root)[1] as runs:
        for run_id in ("one", "two", "out"):
            row = filled("predictions", run_id=run_id, part="test")
            predictions.commit(run_id, pa.Table.from_pylist([row], schema=SCHEMAS["predictions"]))
            row = filled(
                "runs", run_id=run_id, model_path=MODEL if run_id == "one" else "runs/alpha/models/gone"
            )
            runs.commit(run_id, pa.Table.from_pylist([row], schema=SCHEMAS["runs"]))
        runs.join([runs.shards])
        predictions.join([predictions.shards])
    return root


def lend(lenders, run_id, root):
    with writers(root)[0] as predictions, writers(root)[1] as runs:
        row = lenders.lend(run_id, root, predictions, runs)
        return row, set(predictions.committed), set(runs.committed)


def test_a_run_comes_with_its_predictions_and_its_model(lender, tmp_path):
    (tmp_path / "nothing").mkdir()
    lenders = Lenders([tmp_path / "nothing", lender], place)
    row, predictions, runs = lend(lenders, "one", tmp_path / "mine")
    assert row["run_id"] == "one"
    assert predictions == runs == {"one"}
    assert (tmp_path / "mine" / MODEL / "head.json").read_text() == "{}"
    assert lend(lenders, "three", tmp_path / "mine") == (None, {"one"}, {"one"})


def test_a_run_without_its_model_is_not_lent(lender, tmp_path):
    assert lend(Lenders([lender], place), "two", tmp_path / "mine") == (None, set(), set())


def test_a_model_outside_of_the_store_is_not_lent(lender, tmp_path):
    assert lend(Lenders([lender], place), "out", tmp_path / "mine") == (None, set(), set())


def test_a_place_without_a_store_is_an_error(tmp_path):
    with pytest.raises(StrataError, match="typo is no folder"):
        Lenders([tmp_path / "typo"], place)


def test_a_damaged_run_is_not_lent(lender, tmp_path):
    for shard in StoreLayout(lender).predictions(DATASET).glob("*.parquet"):
        shard.chmod(0o644)
        content = bytearray(shard.read_bytes())
        content[8:40] = bytes(32)
        shard.write_bytes(content)
    assert lend(Lenders([lender], place), "one", tmp_path / "mine") == (None, set(), set())
