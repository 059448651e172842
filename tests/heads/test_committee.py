"""Committees in the store: who is in them, what they keep, and that no test target is read."""

import json

import numpy as np
import pytest

import featurestore
from core.errors import StrataError
from featurestore import Reject
from heads import committee
from heads.committee import members_of
from heads.fit import fit
from tests.stores import add_other_features, structure_id

ASKED = {
    "choose_by": "cv",
    "refit": True,
    "repeats": 1,
    "feature_sets": ["atom_8", "other/last"],
    "properties": {"alpha": ["energy"]},
}
STIFF = {"stiff": {"class": "ridge", "alphas": [1e9]}}


def rows(root, query, *values):
    return featurestore.open(root).sql(query, list(values)).df()


@pytest.fixture
def two_sources(store_root):
    """The store with a second source model, which rejected three structures."""
    refused = [Reject(structure_id(number), "too_large", "") for number in range(3)]
    add_other_features(store_root, range(3, 50), refused)
    return store_root


def of_parts(root, run_id):
    kept = rows(root, "SELECT part, entry_id, prediction FROM predictions WHERE run_id = ?", run_id)
    return {part: group.set_index("entry_id").prediction for part, group in kept.groupby("part")}


def test_the_best_head_of_each_source_model_is_averaged(two_sources, ask):
    asked = ask("mean", "ridge", "stiff", sections=STIFF, committee="mean", **ASKED)
    report = fit("alpha", asked, two_sources)
    made = [run for run in report.runs if run.head == "committee"]
    assert len(made) == 2  # one for each seed
    for run in made:
        (row,) = rows(two_sources, "SELECT * FROM runs WHERE run_id = ?", run.run_id).to_dict("records")
        assert (row["method"], row["label"], row["source_model"]) == ("committee", "mean", "other+synthetic")
        assert row["n_train"] + row["n_val"] + row["n_test"] == 40
        members = members_of(two_sources / row["model_path"])
        others = {r.run_id: r for r in report.runs if r.split == run.split}
        best = {
            name: min((r for r in others.values() if r.feature_set == name), key=lambda r: r.cv_mae).run_id
            for name in ("atom_8", "site_pair_last")
        }
        assert {member.run_id for member in members} == set(best.values())
        assert {member.weight for member in members} == {0.5}
        mine = of_parts(two_sources, run.run_id)
        first, second = (of_parts(two_sources, best[name]) for name in ("atom_8", "site_pair_last"))
        lacking = 0
        for part in ("train", "val", "test"):
            for entry, value in mine[part].items():
                said = [p[part][entry] for p in (first, second) if entry in p[part].index]
                assert value == pytest.approx(np.mean(said))
                lacking += len(said) == 1
        assert lacking == 3
        counted = json.loads(row["settings"])["rows_without_a_member"]
        assert sum(counted[part] for part in ("train", "val", "test")) == 3
        targets = rows(two_sources, "SELECT entry_id, value FROM targets WHERE property = 'energy'")
        truth = targets[targets.entry_id.str.startswith("alpha")].set_index("entry_id").value
        for part, mae in (("train", run.train_mae), ("val", run.val_mae), ("oof", run.cv_mae)):
            assert (mine[part] - truth).abs().mean() == pytest.approx(mae)
        assert len(mine["oof"]) == run.n_train + run.n_val


@pytest.mark.parametrize("rule", ["greedy", "stack"])
def test_a_committee_is_made_once_and_is_among_the_runs_that_are_asked_for(two_sources, ask, rule):
    asked = ask("ridge", "stiff", sections=STIFF, committee=rule, **ASKED)
    first, again = fit("alpha", asked, two_sources), fit("alpha", asked, two_sources)
    assert again.new == 0
    assert [run.run_id for run in again.runs] == [run.run_id for run in first.runs]
    assert sum(run.head == "committee" for run in first.runs) == 2
    assert len(rows(two_sources, "SELECT run_id FROM runs")) == len(first.runs)


def test_no_target_of_the_test_part_has_a_say(two_sources, ask, monkeypatch):
    asked = ask("ridge", "stiff", sections=STIFF, committee="greedy", **ASKED)
    read = []
    found = committee._known

    def noted(store, *where):
        values = found(store, *where)
        read.append((where[-1], set(values.index)))
        return values

    monkeypatch.setattr(committee, "_known", noted)
    fit("alpha", asked, two_sources)
    assert len(read) == 2
    for split, entries in read:
        test = rows(
            two_sources,
            "SELECT entry_id FROM splits WHERE (dataset, property, part) = ('alpha', 'energy', 'test') "
            "AND seed = ?",
            split.seed,
        ).entry_id
        assert len(test)
        assert not entries & set(test)


def test_runs_that_were_not_cross_validated_are_weighed_by_the_validation_part(two_sources, ask):
    asked = ask("ridge", committee="mean", **{**ASKED, "choose_by": "validation", "refit": False})
    made = [run for run in fit("alpha", asked, two_sources).runs if run.head == "committee"]
    assert [run.choice for run in made] == ["validation"] * 2
    for run in made:
        assert len(of_parts(two_sources, run.run_id)["oof"]) == run.n_val


def test_one_run_alone_is_no_committee(store_root, ask):
    asked = ask("mean", "ridge", committee="mean", **{**ASKED, "feature_sets": ["atom_8"]})
    assert {run.head for run in fit("alpha", asked, store_root).runs} == {"mean", "ridge"}


def test_a_folder_without_members_says_so(tmp_path):
    with pytest.raises(StrataError, match="does not name the members"):
        members_of(tmp_path)
