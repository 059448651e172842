"""Which test entries were seen before, in whatever cell, and what is known of it."""

import numpy as np
import pytest

from core.errors import StrataError
from evaluation.evaluate import evaluate
from evaluation.leakage import ENTRY_COLUMNS, audit
from featurestore.splits.duplicates import update
from tests.evaluation.conftest import DATASET, add_megnet, name_of


@pytest.fixture
def scored(leaky):
    """A store whose runs were evaluated, with the training data of their source model."""
    add_megnet(leaky)
    evaluate(leaky.params, leaky.store, leaky.root)
    return leaky


def said(found, column) -> dict[str, str]:
    """Return what a column of the entries says where it says something."""
    rows = found.entries.set_index("entry_id")[column]
    return rows[rows != ""].to_dict()


def test_crystals_are_found_in_any_cell(scored):
    found = audit(scored.store, DATASET, "volume")
    (place,) = found.places
    assert said(found, "same_crystal_in") == {name_of(50): "train", name_of(52): "val"}
    assert (place.count("train"), place.count("val"), place.val_in_train) == (1, 1, 0)
    assert said(found, "seen_by") == {name_of(51): "alignn_mp_eform"}  # 53 lies in the published test part
    assert said(found, "also_in") == {name_of(51): "megnet", name_of(53): "megnet"}
    assert found.shared == {"megnet": (2, 2)}
    rows = found.entries
    assert list(rows.columns) == list(ENTRY_COLUMNS)
    assert rows.loc[rows["affected"], "entry_id"].tolist() == [name_of(i) for i in (50, 51, 52)]
    assert len(rows) == 10


def test_groups_that_were_kept_say_the_same(scored):
    before = audit(scored.store, DATASET)
    update(scored.store)
    assert audit(scored.store, DATASET).entries.equals(before.entries)


def test_errors_are_those_of_the_chosen_run_and_of_base(scored):
    (place,) = audit(scored.store, DATASET, "volume").places
    assert place.run == "ridge on alignn_mp_eform/atom_bond_angle_last"
    assert place.entries["error"].tolist() == pytest.approx(list(range(1, 11)))
    actual = np.arange(50, 60) * 2.0
    assert place.entries["base_error"].tolist() == pytest.approx(actual - np.arange(40).mean() * 2)
    assert set(place.entries["run_id"]) == {"leaky"}


def test_nothing_is_written(scored):
    before = {path: path.stat().st_mtime_ns for path in scored.store.rglob("*")}
    audit(scored.store, DATASET)
    assert {path: path.stat().st_mtime_ns for path in scored.store.rglob("*")} == before


def test_what_a_source_model_saw_is_not_known_without_its_training_data(leaky):
    evaluate(leaky.params, leaky.store, leaky.root)
    found = audit(leaky.store, DATASET, "volume")
    assert not found.training["alignn_mp_eform"].is_known
    assert set(found.entries["not_known_of"]) == {"alignn_mp_eform"}
    assert found.shared == {}


def test_without_a_scored_run_there_are_no_errors(leaky):
    add_megnet(leaky)
    found = audit(leaky.store, DATASET, "volume")
    assert found.places[0].run is None
    assert found.places[0].sources == ("alignn_mp_eform",)  # all of the store
    assert found.entries["error"].isna().all()
    assert said(found, "seen_by") == {name_of(51): "alignn_mp_eform"}


def test_a_label_that_was_seen_is_named(scored, monkeypatch):
    monkeypatch.setattr("evaluation.seen.has_seen", lambda _card, _dataset, prop: prop == "volume")
    rows = audit(scored.store, DATASET).entries
    labels = rows.groupby("property")["label_seen_by"].unique()
    assert {prop: list(names) for prop, names in labels.items()} == {
        "bulk_modulus": [""],
        "volume": ["alignn_mp_eform"],
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("ase_elemnts",), "unknown dataset 'ase_elemnts'.*did you mean 'ase_elements'"),
        ((DATASET, "volum"), "unknown property 'volum'.*did you mean 'volume'"),
        (("megnet", "formation_energy"), "megnet/formation_energy has no split; run: strata split megnet"),
        (("megnet",), "megnet has no split"),
    ],
)
def test_what_cannot_be_audited_is_named(leaky, arguments, says):
    add_megnet(leaky)
    with pytest.raises(StrataError, match=says):
        audit(leaky.store, *arguments)
