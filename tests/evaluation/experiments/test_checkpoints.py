"""Table 1: 38 sets compete, six look."""

import pytest

from evaluation.experiments import run
from evaluation.experiments.checkpoints import depth_of, kinds_of
from featurestore.query.feature_sets import named_sets
from tests.stores import CHECKPOINTS


def test_kinds_are_read_off_the_names_of_the_sets():
    named = ["net/site_1+net/edge_1", "net/site_10", "last", "net/site_2"]
    assert kinds_of(named) == ["net/site+net/edge", "net/site", "last"]
    assert [depth_of(name) for name in named] == [1, 10, None, 2]
    assert depth_of("site_1+edge_2") is None


def test_sets_compete_on_validation_and_one_of_each_kind_looks(synthetic, ask, tmp_path):
    section = {"targets": {"alpha": ["energy"]}, "heads": ["ridge"], "seeds": [0, 1]}
    result = run("checkpoints", ask(checkpoints=section), synthetic, tmp_path)
    validation, table, scores = (result.tables[name] for name in ("validation", "table", "scores"))
    assert set(validation["feature_set"]) == set(named_sets(CHECKPOINTS))
    assert table["kind"].tolist() == kinds_of(tuple(named_sets(CHECKPOINTS)))
    assert table["kind"].nunique() == 6
    chosen = scores[scores["role"] == "chosen"]
    assert len(chosen) == 6 * 2
    assert chosen.groupby(["kind", "seed"]).size().max() == 1
    # the whole space of last vectors has one set, so that its mean is the table's
    last = validation.set_index("feature_set").loc["atom_bond_angle_last", "val_mae"]
    of_last = chosen[chosen["kind"] == "atom_bond_angle_last"]
    assert of_last["val_mae"].mean() == pytest.approx(last)
    assert result.provenance["looks"] == len(scores) == 12 + 12  # Base once beside each kind
    assert (tmp_path / "checkpoints" / "table.parquet").exists()
