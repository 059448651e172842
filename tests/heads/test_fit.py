"""The stage: what it keeps, what it skips, and how it survives."""

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest

import featurestore
from core.errors import StrataError
from featurestore import Reject, StoreLayout
from featurestore.tables.log import history
from heads import NotApplicable, Ridge, load_head
from heads.fit import fit
from heads.registry import HeadSpec
from heads.summary import Lacking
from tests.conftest import ROOT
from tests.stores import add_other_features, structure_id


def rows(root, query, *values):
    return featurestore.open(root).sql(query, list(values)).df()


def test_runs_hold_every_number(store_root, ask):
    params = ask("mean", "ridge", sections={"ridge": {"alphas": [1.0, 10.0]}})
    report = fit("alpha", params, store_root)
    assert len(report.runs) == report.new == 2 * 2 * 2  # properties, seeds, heads
    runs = rows(store_root, "SELECT * FROM runs ORDER BY run_id").set_index("run_id")
    assert len(runs) == 8
    for run in report.runs:
        row = runs.loc[run.run_id]
        assert (row.n_train, row.n_val, row.n_test) == (run.n_train, run.n_val, run.n_test)
        assert row.n_train + row.n_val + row.n_test == (40 if run.property == "energy" else 27)
        assert row.val_mae == run.val_mae > 0
        assert row.unit == "eV"
        assert row.label == ""
        base = run.head == "mean"
        assert row.method == ("base" if base else "features")
        assert (row.feature_set is None) is base
        assert json.loads(row.settings) == ({} if base else {"alphas": [1.0, 10.0]})
        assert {"python", "numpy", "scikit-learn"} <= json.loads(row.versions).keys()
        assert row.fit_seconds >= 0


def test_all_of_its_runs_are_one_commit_of_two_tables(store_root, ask):
    fit("alpha", ask("mean", "ridge"), store_root)
    layout = StoreLayout(store_root)
    (runs,), (predictions,) = history(layout.runs("alpha")), history(layout.predictions("alpha"))
    assert runs.transaction.id == predictions.transaction.id
    assert len(runs.added) == 1
    fit("alpha", ask("mean", "ridge"), store_root)  # nothing is new
    assert len(history(layout.runs("alpha"))) == 1


def test_predictions_are_of_every_entry_and_give_the_maes(store_root, ask):
    report = fit("alpha", ask("ridge", properties={"alpha": ["energy"]}), store_root)
    run = report.runs[0]
    found = rows(
        store_root,
        "SELECT p.*, t.value, s.part AS drawn FROM predictions p "
        "JOIN targets t USING (dataset, property, entry_id) "
        "JOIN splits s USING (dataset, property, entry_id) "
        "WHERE run_id = ? AND s.scheme = ? AND s.seed = ?",
        run.run_id,
        *run.split[:2],
    )
    assert len(found) == 40
    assert (found.part == found.drawn).all()
    for part, mae in (("train", run.train_mae), ("val", run.val_mae)):
        of = found[found.part == part]
        assert np.abs(of.prediction - of.value).mean() == pytest.approx(mae)


def test_the_saved_model_gives_the_predictions(store_root, ask):
    report = fit("alpha", ask("ridge", properties={"alpha": ["energy"]}), store_root)
    (path,) = rows(
        store_root, "SELECT model_path FROM runs WHERE run_id = ?", report.runs[0].run_id
    ).model_path
    store = featurestore.open(store_root)
    matrix = store.inputs("alpha", "energy")
    kept = rows(
        store_root, "SELECT entry_id, prediction FROM predictions WHERE run_id = ?", report.runs[0].run_id
    )
    values = load_head(store_root / path).predict(matrix.X)
    assert dict(zip(matrix.entry_ids, values, strict=True)) == pytest.approx(
        dict(zip(kept.entry_id, kept.prediction, strict=True))
    )


def test_what_is_there_is_skipped_and_a_changed_setting_fits_that_head_alone(store_root, ask):
    first = fit("alpha", ask("mean", "ridge"), store_root)
    again = fit("alpha", ask("mean", "ridge"), store_root)
    assert again.new == 0
    assert [run.run_id for run in again.runs] == [run.run_id for run in first.runs]
    assert [run.val_mae for run in again.runs] == [run.val_mae for run in first.runs]
    changed = fit("alpha", ask("mean", "ridge", sections={"ridge": {"alphas": [5.0]}}), store_root)
    assert {run.head for run in changed.runs if run.is_new} == {"ridge"}


def test_what_another_store_has_is_not_fitted(store_root, ask, tmp_path, monkeypatch):
    other = tmp_path / "other"
    shutil.copytree(store_root, other)
    first = fit("alpha", ask("mean", "ridge"), store_root)
    monkeypatch.setattr(Ridge, "_fit", lambda *_args: pytest.fail("fitted again"))
    lent = fit("alpha", ask("mean", "ridge"), other, [store_root])
    assert lent.new == 0
    assert [run.val_mae for run in lent.runs] == [run.val_mae for run in first.runs]
    query = "SELECT * FROM predictions ORDER BY run_id, entry_id"
    assert rows(other, query).equals(rows(store_root, query))
    for (path,) in featurestore.open(other).sql("SELECT model_path FROM runs").fetchall():
        load_head(other / path)


def test_current_names_what_is_asked_for_and_history_stays(store_root, ask):
    first = fit("alpha", ask("mean", "ridge"), store_root)
    second = fit("alpha", ask("mean"), store_root)
    current = StoreLayout(store_root).runs("alpha").parent / "current.json"
    assert json.loads(current.read_text()) == sorted(run.run_id for run in second.runs)
    assert len(rows(store_root, "SELECT run_id FROM runs")) == len(first.runs)


class Never(Ridge):
    """A head that has nothing to say."""

    def _fit(self, X, y, X_val, y_val):
        raise NotApplicable("no opinion")


class Broken(Ridge):
    """A head with a fault of its own."""

    def _fit(self, X, y, X_val, y_val):
        raise ZeroDivisionError


class Unready(Ridge):
    """A head that cannot be fitted with these settings."""

    def _fit(self, X, y, X_val, y_val):
        raise StrataError("more rows are needed")


@pytest.fixture
def with_class(monkeypatch):
    """Let the name `odd` stand for a class of this module."""

    def use(cls):
        from heads import fit as module

        found = module.resolve
        monkeypatch.setattr(
            module,
            "resolve",
            lambda name, sections: (
                HeadSpec(name, cls, {"alphas": [1.0]}) if name == "odd" else found(name, sections)
            ),
        )

    return use


class Sees(Ridge):
    """A head that notes the blocks that it was given."""

    seen: ClassVar[set] = set()

    def _fit(self, X, y, X_val, y_val):
        self.seen.add(tuple((block.source, block.checkpoint, block.stop) for block in self._blocks))
        super()._fit(X, y, X_val, y_val)


class TakesNone(Ridge):
    """A head of a user's whose `fit` knows of no blocks."""

    def fit(self, X, y, X_val=None, y_val=None):
        return super().fit(X, y, X_val, y_val)


def test_a_head_is_given_the_blocks_of_its_columns(store_root, ask, with_class):
    with_class(Sees)
    fit("alpha", ask("odd", feature_sets=["bond_2+angle_4"]), store_root)
    assert Sees.seen == {(("synthetic", "bond_2", 256), ("synthetic", "angle_4", 512))}


def test_a_head_whose_fit_takes_no_blocks_is_fitted_all_the_same(store_root, ask, with_class):
    with_class(TakesNone)
    assert len(fit("alpha", ask("odd"), store_root).runs) == 4


def test_two_source_models_are_fitted_on_the_rows_that_each_has_and_the_report_says_what_lacks(
    store_root, ask
):
    refused = [Reject(structure_id(number), "too_large", "") for number in range(3)]
    add_other_features(store_root, range(3, 50), refused)
    asked = ask(
        "ridge",
        feature_sets=["atom_8", "other/last", "atom_8+other/last"],
        properties={"alpha": ["energy"]},
    )
    report = fit("alpha", asked, store_root)
    counts = {run.feature_set: run.n_train + run.n_val + run.n_test for run in report.runs}
    assert counts == {"atom_8": 40, "site_pair_last": 37, "synthetic/atom_8+other/site_pair_last": 37}
    assert report.lacking == (
        Lacking("energy", "site_pair_last", "other", 3),
        Lacking("energy", "synthetic/atom_8+other/site_pair_last", "other", 3),
    )
    kept = rows(store_root, "SELECT DISTINCT feature_set, source_model, extraction_id FROM runs ORDER BY 1")
    assert list(kept.source_model) == ["synthetic", "other", "synthetic+other"]
    assert fit("alpha", asked, store_root).new == 0
    assert fit("alpha", ask("ridge"), store_root).lacking == ()


def test_a_head_that_is_not_applicable_is_noted_and_the_others_go_on(store_root, ask, with_class):
    with_class(Never)
    report = fit("alpha", ask("odd", "ridge"), store_root)
    assert {run.head for run in report.runs} == {"ridge"}
    assert {(skip.head, skip.reason) for skip in report.not_applicable} == {("odd", "no opinion")}
    assert len(report.not_applicable) == 4
    assert len(rows(store_root, "SELECT run_id FROM runs")) == 4


def test_a_users_error_names_the_run(store_root, ask, with_class):
    with_class(Unready)
    with pytest.raises(
        StrataError, match="odd on synthetic/atom_bond_angle_last of alpha/energy, random-0-0: more rows"
    ):
        fit("alpha", ask("odd"), store_root)


def test_a_fault_in_a_head_keeps_its_traceback_and_names_the_run(store_root, ask, with_class):
    with_class(Broken)
    with pytest.raises(ZeroDivisionError) as caught:
        fit("alpha", ask("odd"), store_root)
    assert "while fitting odd on synthetic/atom_bond_angle_last of alpha/energy" in caught.value.__notes__[0]


def test_unknown_names_are_refused_before_anything_is_fitted(store_root, ask):
    for dataset, heads, message in (
        ("alhpa", ["ridge"], "unknown dataset 'alhpa'.*did you mean 'alpha'"),
        ("alpha", ["ridge", "rigde"], "did you mean 'ridge'"),
    ):
        with pytest.raises(StrataError, match=message):
            fit(dataset, ask(*heads), store_root)
    assert not (store_root / "runs").exists()


def test_leftovers_of_a_killed_fit_are_removed(store_root, ask):
    models = StoreLayout(store_root).models("alpha")
    (models / ".tmp-abc").mkdir(parents=True)
    (models / ".tmp-abc" / "half").write_text("x")
    fit("alpha", ask("mean"), store_root)
    assert not (models / ".tmp-abc").exists()


def state(root):
    """Return what must not depend on how often `fit` was killed."""
    runs = rows(root, "SELECT run_id, head, property, seed, train_mae, val_mae FROM runs ORDER BY ALL")
    predictions = rows(root, "SELECT * FROM predictions ORDER BY ALL")
    current = (StoreLayout(root).runs("alpha").parent / "current.json").read_text()
    return runs.values.tolist(), predictions.values.tolist(), current


@pytest.mark.slow
def test_killed_at_every_step_it_goes_on(store_root, pristine_store, ask, tmp_path):
    params = ask("mean", "ridge")
    code = (
        "import sys, core.params, heads.fit\n"
        "heads.fit.fit('alpha', core.params.Params.model_validate_json(sys.argv[1]), sys.argv[2])"
    )
    kills = 0
    steps = ["shard_written:2", "member_committed:1"]
    for step in [*steps, None]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment |= {"STRATA_FAILPOINT": step} if step else {}
        done = subprocess.run(
            [sys.executable, "-c", code, params.model_dump_json(), str(store_root)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        kills += done.returncode == -signal.SIGKILL
        assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    assert kills == len(steps)

    whole = shutil.copytree(pristine_store, tmp_path / "whole")
    fit("alpha", params, whole)
    assert state(store_root) == state(whole)


CV = {"choose_by": "cv", "refit": True, "folds": 4, "repeats": 2, "properties": {"alpha": ["energy"]}}


def test_a_cross_validated_run_keeps_out_of_fold_predictions_of_train_and_val(store_root, ask):
    report = fit("alpha", ask("ridge", **CV), store_root)
    for run in report.runs:
        kept = rows(
            store_root,
            "SELECT p.*, t.value, s.part AS drawn FROM predictions p "
            "JOIN targets t USING (dataset, property, entry_id) "
            "JOIN splits s USING (dataset, property, entry_id) "
            "WHERE run_id = ? AND s.scheme = ? AND s.seed = ?",
            run.run_id,
            *run.split[:2],
        )
        oof = kept[kept.part == "oof"]
        assert sorted(kept[kept.part != "oof"].entry_id) == sorted(f"alpha-{i}" for i in range(40))
        assert set(oof.drawn) == {"train", "val"}
        assert len(oof) == oof.entry_id.nunique() == run.n_train + run.n_val
        errors = np.abs(oof.prediction - oof.value)
        assert errors.mean() <= run.cv_mae  # the mean of two repetitions errs no more than they do
        train = kept[kept.part == "train"]
        assert np.abs(train.prediction - train.value).mean() < run.cv_mae


def test_a_run_that_was_refitted_says_so_and_its_validation_error_is_that_of_before(store_root, ask):
    plain = fit("alpha", ask("mean", "ridge", properties={"alpha": ["energy"]}), store_root)
    again = fit("alpha", ask("mean", "ridge", **CV), store_root)
    kept = rows(store_root, "SELECT * FROM runs").set_index("run_id")
    for before, after in zip(plain.runs, again.runs, strict=True):
        assert after.val_mae == before.val_mae
        if after.head == "mean":
            assert after.run_id == before.run_id
            continue
        assert after.run_id != before.run_id
        assert (kept.label[after.run_id], kept.choice[after.run_id]) == ("refit", "cv, refit")
        assert kept.cv_mae[after.run_id] == after.cv_mae > 0
        assert kept.choice[before.run_id] is None
        store = featurestore.open(store_root)
        matrix = store.matrix("alpha", "energy", split=after.split, parts=("train", "val"))
        whole = Ridge().fit(matrix.X, matrix.y)
        saved = load_head(store_root / kept.model_path[after.run_id])
        assert np.array_equal(saved.predict(matrix.X), whole.predict(matrix.X))
    assert fit("alpha", ask("mean", "ridge", **CV), store_root).new == 0


def test_few_rows_are_cross_validated_for_shallow_heads_alone(store_root, ask, monkeypatch):
    few = {"lightgbm": {"n_estimators": 5}}
    asked = ask("ridge", "lightgbm", sections=few, **{**CV, "choose_by": "auto"})
    found = {run.head: run for run in fit("alpha", asked, store_root).runs}
    assert (found["ridge"].choice, found["lightgbm"].choice) == ("cv, refit", None)
    assert found["lightgbm"].cv_mae is None
    monkeypatch.setattr("heads.folds.SMALL", 30)
    found = {run.head: run for run in fit("alpha", asked, store_root).runs}
    assert (found["ridge"].choice, found["ridge"].cv_mae) == ("validation, refit", None)


def test_a_head_that_stops_by_validation_is_cross_validated_where_it_is_asked_for(store_root, ask):
    asked = ask("lightgbm", **CV, sections={"lightgbm": {"n_estimators": 5}})
    assert {run.choice for run in fit("alpha", asked, store_root).runs} == {"cv"}


def test_joined_sets_of_a_source_model_that_is_not_the_default_are_its_own(store_root, ask):
    add_other_features(store_root, range(50))
    asked = ask("ridge", feature_sets=["other/site_0+other/pair_1"], properties={"alpha": ["energy"]})
    report = fit("alpha", asked, store_root)
    kept = rows(store_root, "SELECT DISTINCT feature_set, source_model FROM runs")
    assert kept.values.tolist() == [["site_0+pair_1", "other"]]
    assert len(report.runs) == 2
