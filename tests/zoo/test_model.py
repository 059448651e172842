"""What a model answers: the columns of its table, what it knows already, and where it knows nothing."""

import json

import numpy as np
import pytest
from ase.build import bulk

import featurestore
from core.errors import StrataError
from core.structure import Structure
from featurestore.columns import OwnColumns
from heads.domain import INSIDE, OUTSIDE, VERDICTS
from tests.models import BOTH, ELEMENTS, FOLDED, MODULUS, REAL, of_store
from tests.stores import CHECKPOINTS, OTHER, SOURCE, vectors_of
from zoo.model import Asked, Model, Reads, own_vectors
from zoo.predict import predict_structures
from zoo.stored import stored_model

COLUMNS = {
    "file": "O", "structure": "O", "formula": "O", "value": "f", "unit": "O", "low": "f", "high": "f",
    "expected_error": "f", "level": "f", "domain": "O", "percentile": "f", "new_elements": "O",
    "error_seen": "f", "rows_seen": "i", "in_training": "O",
    **{f"near_{k}{of}": kind for k in (1, 2, 3)
       for of, kind in (("", "O"), ("_formula", "O"), ("_value", "f"), ("_distance", "f"))},
    "training_rows": "i", "model": "O", "model_sha256": "O", "error": "O",
}  # fmt: skip


@pytest.fixture
def model(folded, stand_in) -> Model:
    return stored_model(featurestore.open(folded), "alpha", "energy", FOLDED)


@pytest.fixture(scope="module")
def real(elements) -> Model:
    """A model on the embedded network, which is run for it."""
    return stored_model(featurestore.open(elements), ELEMENTS, MODULUS, REAL)


def whole(number: int, source: str = SOURCE) -> np.ndarray:
    """Return all made-up vectors of a structure side by side."""
    return np.concatenate(list(vectors_of(number, source=source).values()))


def test_columns_and_their_kinds(model):
    found = predict_structures(model, [of_store(1), of_store(100)])
    assert {name: kind.kind for name, kind in found.dtypes.items()} == COLUMNS
    (row, _) = found.to_dict("records")
    assert row["model"] == "alpha/energy"
    assert row["model_sha256"] == model.card.sha256
    assert row["training_rows"] == model.card.rows
    assert row["unit"] == "eV"
    assert row["domain"] in VERDICTS
    assert 0 <= row["percentile"] <= 100


def test_neighbours_are_training_entries_in_order(model):
    row = predict_structures(model, of_store(1234)).iloc[0]
    entries = {one.entry_id: one for one in model.calibration.rows}
    distances = [row[f"near_{k}_distance"] for k in (1, 2, 3)]
    assert distances == sorted(distances)
    for k in (1, 2, 3):
        near = entries[row[f"near_{k}"]]
        assert (row[f"near_{k}_formula"], row[f"near_{k}_value"]) == (near.formula, near.value)
    assert row["in_training"] == ""


def test_a_training_structure_is_named_and_its_neighbour_is_itself(model):
    entry = model.calibration.rows[4]
    number = int(entry.entry_id.rpartition("-")[2])
    row = predict_structures(model, of_store(number)).iloc[0]
    assert row["in_training"] == entry.entry_id
    assert row["near_1"] == entry.entry_id
    assert row["near_1_distance"] == pytest.approx(0, abs=1e-3)
    assert row["domain"] == INSIDE


def test_a_test_structure_is_not_named_as_known(model, folded):
    query = (
        "SELECT entry_id FROM splits WHERE dataset = 'alpha' AND property = 'energy' "
        "AND seed = 0 AND part = 'test'"
    )
    held_back = [int(name.rpartition("-")[2]) for (name,) in featurestore.open(folded).sql(query).fetchall()]
    found = predict_structures(model, [of_store(number) for number in held_back])
    assert found["in_training"].tolist() == [""] * len(held_back)


def test_new_elements_are_outside_and_named(model):
    found = predict_structures(model, [bulk("NaCl", "rocksalt", a=5.64), bulk("Si")])
    assert found["new_elements"].tolist() == ["Na Cl", ""]
    assert found["domain"][0] == OUTSIDE


def test_the_error_seen_is_that_of_rows_of_the_same_verdict(model):
    found = predict_structures(model, [of_store(n) for n in range(200, 240)])
    seen = model.calibration.seen
    for row in found.to_dict("records"):
        own = seen[row["domain"]]
        assert row["rows_seen"] == own.rows
        assert row["error_seen"] == pytest.approx(np.nan if own.mae is None else own.mae, nan_ok=True)
    assert sum(one.rows for one in seen.values()) == len(model.calibration.intervals.residuals)


def test_another_cell_of_a_training_crystal_is_named_and_a_strained_one_is_not(real, elements):
    """The network sees crystals, not cells: larger and turned cells and other origins are known."""
    (row,) = [row for row in real.calibration.rows if row.formula == "Cu"]
    (kept,) = featurestore.open(elements).structures([row.structure_id])
    a = (4 * kept.volume / kept.n_atoms) ** (1 / 3)
    copper = bulk("Cu", a=a)
    turned = bulk("Cu", a=a, cubic=True)
    turned.rotate(33, (1, 2, 3), rotate_cell=True)
    shifted = bulk("Cu", a=a, orthorhombic=True)
    shifted.positions += 0.7
    same = [copper, copper * (2, 1, 1), turned, shifted, bulk("Cu", a=round(a, 4))]
    strained, sheared = copper.copy(), copper.copy()
    strained.set_cell(copper.cell * np.array([1.01, 1, 1]), scale_atoms=True)
    sheared.set_cell(copper.cell * np.array([1.02, 1 / 1.02, 1]), scale_atoms=True)  # of the same volume
    other = bulk("Cu", "bcc", a=a / 2 ** (1 / 3))
    found = predict_structures(real, [*same, strained, sheared, bulk("Cu", a=1.01 * a), other])
    assert found["in_training"].tolist() == [row.entry_id] * 5 + [""] * 4
    np.testing.assert_allclose(found["value"][:5], found["value"][0], rtol=1e-3)
    assert (found["near_1"][:5] == row.entry_id).all()


def test_vectors_that_one_source_model_lacks_leave_only_its_members_out(committee, stand_in):
    model = stored_model(featurestore.open(committee), "alpha", "energy", BOTH)
    if {block.source for member in model.members for block in member.blocks} != {SOURCE, OTHER}:
        pytest.fail("the committee of this store reads both source models")
    vectors = {name: whole(7, name)[None].copy() for name in (SOURCE, OTHER)}
    full, _ = model.values(vectors)
    lacking = vectors | {OTHER: np.full_like(vectors[OTHER], np.nan)}
    values, spread = model.values(lacking)
    left = [m for m in model.members if all(block.source == SOURCE for block in m.blocks)]
    each = np.array([m.head.predict(model.columns_of(m.blocks, vectors))[0] for m in left])
    assert values[0] == pytest.approx(np.average(each, weights=[m.weight for m in left]))
    assert values[0] != pytest.approx(full[0])
    assert np.isfinite(spread).all()
    asked = Asked.of(["7"], [of_store(7)])
    frame = model.frame(asked, lacking)
    assert np.isfinite(frame.loc[0, ["value", "low", "high", "percentile"]].astype(float)).all()
    nothing = {name: np.full_like(one, np.nan) for name, one in vectors.items()}
    frame = model.frame(asked, nothing)
    assert np.isnan(frame.loc[0, ["value", "low", "high", "expected_error"]].astype(float)).all()
    assert frame["domain"].tolist() == [OUTSIDE]


def test_columns_are_taken_checkpoint_by_checkpoint(model):
    vectors = {SOURCE: np.stack([whole(3), whole(4)])}
    (member,) = model.members
    X = model.columns_of(member.blocks, vectors)
    for row, number in zip(X, (3, 4), strict=True):
        own = vectors_of(number)
        np.testing.assert_array_equal(row, np.concatenate([own["atom_8"], own["bond_8"], own["angle_4"]]))
    assert X.dtype == np.float32


def test_where_checkpoints_begin():
    reads = Reads("x", "e", CHECKPOINTS)
    assert reads.width == sum(checkpoint.width for checkpoint in CHECKPOINTS)
    assert reads.start(CHECKPOINTS[0].name) == 0
    assert reads.start(CHECKPOINTS[2].name) == CHECKPOINTS[0].width + CHECKPOINTS[1].width
    with pytest.raises(StrataError, match="x has no checkpoint 'atom_99'"):
        reads.start("atom_99")


def test_own_columns_are_found_by_name():
    own = OwnColumns(("a", "b"), ("p", "q"), np.array([[1, 2], [3, np.nan]], np.float32))
    found, errors = own_vectors(own, ["b", "c", "a"])
    np.testing.assert_array_equal(found, [[np.nan] * 2, [np.nan] * 2, [1, 2]])
    assert errors[0] == "missing_value: b has no q in the table of columns"
    assert errors[1] == "no_columns: c has no row in the table of columns"
    assert errors[2] is None


def test_structures_are_described_by_their_reduced_formula():
    asked = Asked.of(["x"], [Structure.from_ase(bulk("NaCl", "rocksalt", a=5.64, cubic=True))])
    assert asked.formulas == ("ClNa",)
    assert asked.elements == ((11, 17),)


def test_facts_are_plain(model):
    facts = json.loads(json.dumps(model.facts()))
    assert facts["dataset"] == "alpha"
    assert set(facts["source_models"]) == {SOURCE}
    assert set(facts["seen"]) == set(VERDICTS)
    assert repr(model).startswith("Model('alpha/energy', ridge on synthetic/")
