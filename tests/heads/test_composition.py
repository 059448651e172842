"""The baseline by composition: a forest that every fit adds, where the store has the vectors for it."""

from pathlib import Path

import pytest

import featurestore
from core.params import Params, parse
from heads.fit import fit
from tests.stores import add_composition, small_store


@pytest.fixture
def root(tmp_path) -> Path:
    return small_store(tmp_path / "store")


def params(**asked) -> Params:
    return parse(
        {
            "extract": {"source_models": ["synthetic"]},
            "fit": {"heads": ["mean", "ridge"], "properties": {"alpha": ["energy"]}, **asked},
            "heads": {"forest": {"n_estimators": 5}, "ridge": {"alphas": [1.0]}},
        }
    )


def rows(root):
    return featurestore.open(root).sql("SELECT * FROM runs ORDER BY run_id").df().set_index("run_id")


def test_it_is_fitted_where_its_vectors_are_and_leaves_other_runs_as_they_are(root, capsys):
    before = fit("alpha", params(), root)
    before.show()
    assert "no baseline by composition: no vectors for magpie/all in the store" in capsys.readouterr().out
    assert {run.head for run in before.runs} == {"mean", "ridge"}
    add_composition(root, range(40))
    after = fit("alpha", params(), root)
    after.show()
    printed = capsys.readouterr().out
    assert "no baseline" not in printed
    assert "magpie/composition" in printed or "magpie/all" in printed
    kept = {run.run_id for run in before.runs}
    assert kept < {run.run_id for run in after.runs}
    assert after.new == 2  # a split each
    new = rows(root).drop(kept)
    assert set(new["method"]) == {"composition"}
    assert set(new["head"]) == {"forest"}
    assert set(new["source_model"]) == {"magpie"}
    assert set(rows(root).loc[sorted(kept), "method"]) == {"base", "features"}
    assert fit("alpha", params(), root).new == 0


def test_null_turns_it_off(root, capsys):
    add_composition(root, range(40))
    report = fit("alpha", params(composition=None), root)
    report.show()
    assert {run.head for run in report.runs} == {"mean", "ridge"}
    assert "composition" not in capsys.readouterr().out


def test_a_forest_that_competes_on_the_same_vectors_is_another_run(root):
    add_composition(root, range(40))
    report = fit("alpha", params(heads=["forest"], feature_sets=["magpie/all"]), root)
    assert len({run.run_id for run in report.runs}) == 4
    found = rows(root)
    assert sorted(found["method"]) == ["composition", "composition", "features", "features"]
    assert found.groupby("seed")["val_mae"].nunique().tolist() == [1, 1]
