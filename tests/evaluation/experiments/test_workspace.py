"""A store of an experiment's own over the main store's data."""

import pytest

import featurestore
from core.errors import StrataError
from core.executor import Processes
from evaluation.experiments.settings import Comparison
from evaluation.experiments.workspace import Workspace
from featurestore.splits.schemes import split_dataset
from featurestore.tables.log import snapshot
from heads import Ridge


def plan(**changes) -> Comparison:
    return Comparison(**{"targets": {"alpha": ("energy",)}, "heads": ("ridge",), "seeds": (0,), **changes})


def test_runs_lie_apart_and_the_main_store_is_untouched(synthetic, ask):
    split_dataset(synthetic, "alpha", ("random",), (5,))
    before = sorted(path for path in synthetic.iterdir() if path.name != "experiments")
    workspace = Workspace("transfer", ask(), plan(seeds=(0, 1)), synthetic)
    runs = workspace.heads()
    assert sorted(runs["method"].unique()) == ["base", "features"]
    assert len(runs) == 4
    assert featurestore.open(synthetic).sql("SELECT * FROM runs").fetchall() == []
    assert {key.seed for key in featurestore.open(synthetic).splits("alpha", "energy")} == {5}
    after = sorted(path for path in synthetic.iterdir() if path.name not in ("experiments", ".graphs"))
    assert [path for path in before if path.name != ".graphs"] == after
    assert workspace.root == synthetic / "experiments" / "transfer"
    assert (workspace.root / "features").resolve() == (synthetic / "features").resolve()


def test_the_second_time_nothing_is_fitted(synthetic, ask):
    first = Workspace("again", ask(), plan(), synthetic)
    runs = first.heads()
    version = snapshot(first.root / "runs" / "alpha" / "runs").version
    second = Workspace("again", ask(), plan(), synthetic)
    assert second.heads()["run_id"].tolist() == runs["run_id"].tolist()
    assert snapshot(first.root / "runs" / "alpha" / "runs").version == version


def test_the_engine_is_that_of_the_pipeline_and_decides_no_result(synthetic, ask, monkeypatch):
    here = Workspace("engines", ask(), plan(), synthetic)
    fit, finetune = (one.model_copy(update={"engine": "ray"}) for one in (ask().fit, ask().finetune))
    params = ask().model_copy(update={"fit": fit, "finetune": finetune})
    there = Workspace("engines", params, plan(), synthetic)
    assert there.key == here.key
    asked = []
    monkeypatch.setattr("heads.fit.executor_of", lambda engine: asked.append(engine) or Processes)
    there.heads()
    assert asked == ["ray"]


def test_what_another_experiment_has_made_is_not_made_again(synthetic, ask, monkeypatch):
    first = Workspace("lending", ask(), plan(), synthetic).heads()
    monkeypatch.setattr(Ridge, "_fit", lambda *_args: pytest.fail("fitted again"))
    second = Workspace("borrowing", ask(), plan(), synthetic).heads()
    assert second["run_id"].tolist() == first["run_id"].tolist()
    assert second["created_at"].tolist() == first["created_at"].tolist()


def test_runs_of_earlier_settings_take_no_part(synthetic, ask):
    Workspace("earlier", ask(), plan(heads=("ridge", "lightgbm")), synthetic).heads()
    runs = Workspace("earlier", ask(), plan(), synthetic).heads()
    assert set(runs["head"]) == {"mean", "ridge"}


def test_a_split_that_needs_more_groups_is_left_out_with_a_note(synthetic, ask):
    workspace = Workspace("groups", ask(), plan(splits=("random", "grouped")), synthetic)
    runs = workspace.heads()
    assert set(runs["scheme"]) == {"random"}
    assert any("split grouped of alpha" in note and "too few" in note for note in workspace.notes)


def test_nothing_that_can_be_drawn_is_an_error(synthetic, ask):
    with pytest.raises(StrataError, match="experiment groups: nothing to run"):
        Workspace("groups", ask(), plan(splits=("grouped",)), synthetic).heads()


def test_an_unknown_split_is_an_error(synthetic, ask):
    with pytest.raises(StrataError, match=r"unknown split scheme 'randm'.*did you mean 'random'"):
        Workspace("x", ask(), plan(splits=("randm",)), synthetic).heads()


def test_networks_stand_beside_heads(synthetic, ask):
    with pytest.raises(StrataError, match="trained names beta/gap, which is not among its targets"):
        Workspace("x", ask(), plan(trained={"beta": ("gap",)}), synthetic)


def test_a_dataset_without_names_stands_for_all_its_properties(synthetic, ask):
    workspace = Workspace("x", ask(), plan(targets={"alpha": ()}), synthetic)
    assert workspace.targets == {"alpha": ("energy", "gap")}
    assert set(Workspace("x", ask(), plan(targets={}), synthetic).targets) == {"alpha", "beta"}


def test_looks_are_written_down_in_the_experiments_store(synthetic, ask):
    workspace = Workspace("looks", ask(), plan(), synthetic)
    workspace.score(workspace.heads())
    rows = workspace.store.sql("SELECT role, stage FROM looks ORDER BY ALL").fetchall()
    assert rows == [("base", "experiment looks"), ("chosen", "experiment looks")]
