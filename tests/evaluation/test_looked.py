"""Test errors are read of scored runs alone, and are those behind the score."""

import numpy as np
import pyarrow as pa
import pytest

import featurestore
from core.errors import StrataError
from evaluation.evaluate import evaluate
from evaluation.looked import errors_on_test
from featurestore import TableWriter
from featurestore.tables.schema import TARGETS
from featurestore.tables.shards import Chunk
from tests.evaluation.conftest import DATASET, name_of, targets_of


@pytest.fixture
def scored(small):
    evaluate(small.params, small.store, small.root)
    return small


def test_they_are_those_behind_the_score_and_leave_no_row(scored):
    store = featurestore.open(scored.store)
    looks = "SELECT count(*) FROM looks"
    before = store.sql(looks).fetchall()
    rows = store.sql("SELECT run_id, mae, n FROM scores").fetchall()
    assert {run_id for run_id, *_ in rows} == {
        f"{prop}-{head}" for prop in ("volume", "bulk_modulus") for head in ("ridge", "mean")
    }
    for run_id, mae, n in rows:
        errors = errors_on_test(store, run_id)
        assert errors.mean() == pytest.approx(mae)
        assert errors.index.tolist() == sorted(name_of(i) for i in range(50, 60))
        assert len(errors) == n
    assert featurestore.open(scored.store).sql(looks).fetchall() == before


def test_a_run_that_was_not_scored_is_refused_and_no_target_is_read(scored, monkeypatch):
    """The other head is better on the test part; nobody may find out."""
    store = featurestore.open(scored.store)
    asked = []
    real = store.sql
    monkeypatch.setattr(store, "sql", lambda query, params=None: asked.append(query) or real(query, params))
    for run_id in ("volume-lightgbm", "nothing"):
        with pytest.raises(StrataError, match=f"run {run_id} was not scored on the test part"):
            errors_on_test(store, run_id)
    assert asked
    assert not [query for query in asked if "targets" in query or "predictions" in query]


def test_only_the_entries_that_were_compared_count(small):
    shift = np.concatenate([np.zeros(50), np.arange(1.0, 11.0)])
    small.add_run("best", "volume", "ridge", targets_of("volume") + shift, val_mae=0.5)
    small.add_run("fewer", "volume", "ridge", targets_of("volume"), val_mae=5.0, lacks=[59], n_test=9)
    evaluate(small.params, small.store, small.root)
    errors = errors_on_test(featurestore.open(small.store), "best")
    assert sorted(errors) == pytest.approx(list(range(1, 10)))
    assert name_of(59) not in errors.index


def test_runs_that_have_come_since_change_what_is_compared(scored):
    scored.add_run("fewer", "volume", "ridge", targets_of("volume"), val_mae=5.0, lacks=[59], n_test=9)
    errors = errors_on_test(featurestore.open(scored.store), "volume-ridge")
    assert len(errors) == 10  # what stands in the scores


def test_targets_that_have_changed_are_told(scored):
    folder = scored.layout.targets(DATASET)
    rows = featurestore.open(scored.store).sql("FROM targets").to_arrow_table().to_pylist()
    changed = [row | {"value": row["value"] + 1} for row in rows]
    with TableWriter(folder, TARGETS, "test") as writer:
        content = [{name: row[name] for name in TARGETS.names} for row in changed]
        writer.replace({"other": Chunk(pa.Table.from_pylist(content, TARGETS))})
    with pytest.raises(StrataError, match=r"runs or targets have changed since .*strata evaluate"):
        errors_on_test(featurestore.open(scored.store), "volume-ridge")
