import numpy as np
import pytest

from core.errors import StrataError
from evaluation.explorer.build import Request, store_map
from featurestore.query.store import open_store
from tests.stores import OTHER, SOURCE, add_other_features, small_store, vectors_of


def test_every_structure_is_one_point_with_all_its_records(mapped):
    assert len(mapped) == 50
    shared = mapped.names.index("alpha-35")
    assert mapped.entries[shared] == "alpha/alpha-35, beta/beta-5, beta/beta-20"
    words = mapped.column("dataset")
    assert words.labels[int(words.values[shared])] == "alpha, beta"
    assert mapped.title == "alpha, beta: 50 structures"


def test_values_predictions_and_errors_stand_side_by_side(mapped):
    value = mapped.column("alpha/energy").values
    held_out = mapped.column("alpha/energy, held-out prediction").values
    error = mapped.column("alpha/energy, error").values
    np.testing.assert_allclose(error, held_out - value)
    np.testing.assert_allclose(mapped.column("alpha/energy, absolute error").values, np.abs(error))
    assert np.isfinite(value).sum() == np.isfinite(held_out).sum() == 40
    assert value[7] == pytest.approx(vectors_of(7)["atom_8"].sum(), rel=1e-6)
    predicted = mapped.column("alpha/energy, prediction").values
    assert np.isfinite(predicted).all()  # of beta's own structures too
    low, high = (mapped.column(f"alpha/energy, {end} end").values for end in ("low", "high"))
    assert (low < predicted).all()
    assert (predicted < high).all()
    np.testing.assert_allclose(mapped.column("alpha/energy, interval width").values, high - low)
    assert set(mapped.column("alpha/energy, domain").labels) == {"inside", "edge", "outside"}


def test_a_property_without_a_model_has_its_values_alone(mapped):
    assert np.isfinite(mapped.column("beta/gap").values).sum() == len(
        {number for i, number in enumerate([*range(30, 50), *range(35, 45)]) if i % 3 != 2}
    )
    assert not any(column.name.startswith("beta/gap, ") for column in mapped.columns)
    assert mapped.colour == "alpha/energy, prediction"


def test_without_properties_all_values_are_shown_and_no_model_is_run(chosen, params):
    with open_store(chosen) as store:
        found = store_map(store, Request(["alpha"]), params)
    names = [column.name for column in found.columns]
    assert {"energy", "gap", "energy, held-out prediction"} <= {*names}
    assert "energy, prediction" not in names
    assert found.colour == "chemistry"
    assert len(found) == 40


def test_checkpoints_of_several_networks_are_axes_and_the_first_decides_neighbours(tmp_path, params):
    root = small_store(tmp_path / "store")
    add_other_features(root, range(40))
    with open_store(root) as store:
        asked = Request(["beta"], ["gap"], [f"{OTHER}/site_2", f"{SOURCE}/atom_0"])
        found = store_map(store, asked, params)
    names = [column.name for column in found.columns[:4]]
    assert names == [f"PCA {i} of {name}" for name in ("other/site_2", "synthetic/atom_0") for i in (1, 2)]
    assert found.near_by == "other/site_2"
    lacking = [i for i, name in enumerate(found.names) if int(name.rpartition("-")[2]) in range(10, 20)]
    assert np.isnan(found.columns[0].values[lacking]).all()  # the second network never saw them
    assert np.isfinite(found.columns[2].values).all()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Request(["alpa"]), "unknown dataset 'alpa'.*did you mean 'alpha'"),
        (Request([], ["enrgy"]), "unknown property 'enrgy'.*did you mean 'energy'"),
        (Request([], ["alpa/energy"]), "did you mean 'alpha'"),
        (Request([], ["alpha/enrgy"]), "did you mean 'energy'"),
        (Request([], [], ["atom_88"]), "unknown feature set 'atom_88'.*did you mean 'atom_8'"),
        (Request([], [], ["last"]), "several checkpoints"),
        (Request(shares=-1), "-1 is none"),
    ],
)
def test_unknown_names_are_told_with_the_nearest(chosen, params, asked, message):
    with open_store(chosen) as store, pytest.raises(StrataError, match=message):
        store_map(store, asked, params)


def test_a_network_without_vectors_of_these_structures_is_named(tmp_path, params):
    root = small_store(tmp_path / "store")
    add_other_features(root, range(5))
    with open_store(root) as store, pytest.raises(StrataError, match="strata extract other"):
        store_map(store, Request(["beta"], [], ["other/site_2"]), params)
