"""Runs copied from another store: whole, once, or not at all."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

import featurestore
from core.checksums import write_checksums
from core.errors import StrataError
from featurestore import StoreLayout, TableWriter
from featurestore.runs_import import Lenders
from featurestore.tables.maintenance import compact
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
    sha256 = write_checksums(root / MODEL)
    with writers(root)[0] as predictions, writers(root)[1] as runs:
        for run_id in ("one", "two", "out"):
            row = filled("predictions", run_id=run_id, part="test")
            predictions.commit(run_id, pa.Table.from_pylist([row], schema=SCHEMAS["predictions"]))
            model = MODEL if run_id == "one" else "runs/alpha/models/gone"
            row = filled("runs", run_id=run_id, model_path=model, model_sha256=sha256)
            runs.commit(run_id, pa.Table.from_pylist([row], schema=SCHEMAS["runs"]))
        runs.join(100)
        predictions.join(100)
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


def test_a_damaged_model_is_not_lent(lender, tmp_path):
    (lender / MODEL / "head.json").write_text("[]")
    assert lend(Lenders([lender], place), "one", tmp_path / "mine") == (None, set(), set())
    assert not (tmp_path / "mine" / MODEL).exists()


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


def test_runs_written_before_columns_were_added_are_read_lent_and_compacted(tmp_path):
    now = SCHEMAS["runs"]
    before = pa.schema([field for field in now if field.name not in {"cv_mae", "choice", "model_sha256"}])
    root = tmp_path / "store"
    layout = StoreLayout(root)
    (root / MODEL).mkdir(parents=True)
    facts = {"dataset": DATASET, "model_path": MODEL}
    one = {
        name: value for name, value in filled("runs", run_id="one", **facts).items() if name in before.names
    }
    with TableWriter(layout.runs(DATASET), before, "fit") as writer:
        writer.commit("one", pa.Table.from_pylist([one], schema=before))
    with TableWriter(layout.predictions(DATASET), SCHEMAS["predictions"], "fit") as writer:
        row = filled("predictions", run_id="one")
        writer.commit("one", pa.Table.from_pylist([row], schema=SCHEMAS["predictions"]))
    query = "SELECT run_id, val_mae, cv_mae, choice FROM runs ORDER BY run_id"
    assert featurestore.open(root).sql(query).fetchall() == [("one", 0.5, None, None)]
    two = pa.Table.from_pylist([filled("runs", run_id="two", cv_mae=0.25, **facts)], schema=now)
    with TableWriter(layout.runs(DATASET), now, "fit") as writer:
        writer.commit("two", two)
    both = [("one", 0.5, None, None), ("two", 0.5, 0.25, "x")]
    assert featurestore.open(root).sql(query).fetchall() == both
    compact(root, ["runs"])
    assert featurestore.open(root).sql(query).fetchall() == both
    predictions, runs = writers(tmp_path / "borrower")
    with predictions, runs:
        lent = Lenders([root], place).lend("one", tmp_path / "borrower", predictions, runs)
    assert (lent["run_id"], lent["cv_mae"]) == ("one", None)
