"""Values for new structures, by the head that was chosen."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import featurestore
from core.errors import StrataError
from core.params import parse
from core.structure import Structure
from evaluation.evaluate import evaluate
from featurestore import StoreLayout, TableWriter
from featurestore.tables.schema import SCHEMAS
from featurestore.tables.shards import Chunk
from heads.committee import members_of
from heads.fit import fit
from tests.crystals import cif
from tests.engines import SOURCE as EMBEDDED
from tests.engines import alignn_engine
from tests.stores import SOURCE, describe, small_store
from zoo import predict as module
from zoo.extraction import extraction_id, together
from zoo.hub import load_card
from zoo.predict import ChosenModel, chosen_model, predict

PARAMS = parse(
    {
        "datasets": ["alpha"],
        "extract": {"source_models": [SOURCE]},
        "fit": {"heads": ["mean", "ridge"], "properties": {"alpha": ["energy"]}},
    }
)
CIF = cif("NaCl", 5.64, "Na1 Na 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1")
POSCAR = "Al\n1.0\n4.05 0 0\n0 4.05 0\n0 0 4.05\nAl\n1\ndirect\n0 0 0\n"
WATER = "3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"
EMBED = module._embed  # the tests but two replace it


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store in which a head was chosen for alpha/energy, and none for alpha/gap."""
    root = small_store(tmp_path_factory.mktemp("predict") / "store")
    fit("alpha", PARAMS, root)
    evaluate(PARAMS, root, root.parent)
    return root


@pytest.fixture
def files(tmp_path):
    """A crystal, a metal and a molecule in the three kinds of file."""
    for name, text in (("salt.cif", CIF), ("POSCAR", POSCAR), ("water.xyz", WATER)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return [tmp_path / "salt.cif", tmp_path / "POSCAR", tmp_path / "water.xyz"]


@pytest.fixture(autouse=True)
def vectors(monkeypatch):
    """Stand in for the network: a structure's vector says how many atoms it has; ten are too many."""

    def embed(structures, model, store, params, names, own, said=None):
        errors = [None if s.n_atoms < 10 else "too_large: ten atoms" for s in structures]
        return np.array([np.full(768, s.n_atoms, np.float32) for s in structures]), errors

    monkeypatch.setattr(module, "_embed", embed)


def test_of_repetitions_the_first_answers_whichever_scored_best(store, tmp_path):
    model = chosen_model(featurestore.open(store), "alpha", "energy", ["random"])
    assert (model.head, model.unit, model.feature_set) == ("ridge", "eV", "atom_bond_angle_last")
    assert (model.split, model.repetitions) == ("random-0-0", 2)
    query = "SELECT test_mae FROM runs WHERE role = 'chosen' AND property = 'energy'"
    maes = [mae for (mae,) in featurestore.open(store).sql(query).fetchall()]
    assert model.test_mae == pytest.approx(np.mean(maes))
    assert model.test_mae_sd == pytest.approx(np.std(maes, ddof=1))
    assert model.base_test_mae > 0
    # The rule looks at no score: it stays where the other repetition is the better one.
    copy = shutil.copytree(store, tmp_path / "copy")
    rows = featurestore.open(copy).sql("FROM scores").to_arrow_table().to_pylist()
    turned = pa.Table.from_pylist([row | {"mae": 1 / row["mae"]} for row in rows], SCHEMAS["scores"])
    with TableWriter(StoreLayout(copy).scores, SCHEMAS["scores"], "test") as writer:
        writer.replace({"turned": Chunk(turned)})
    assert chosen_model(featurestore.open(copy), "alpha", "energy").run_id == model.run_id


def test_three_kinds_of_file(store, files):
    model, found = predict(files, "alpha", "energy", PARAMS, store)
    assert [(p.name, p.formula, p.error) for p in found] == [
        ("salt", "ClNa", None),
        ("POSCAR", "Al", None),
        ("water", "H2O", None),
    ]
    head = module.load_model(model, PARAMS)
    atoms = np.array([2.0, 1.0, 3.0])
    expected = head.predict(np.repeat(atoms[:, None], 768, axis=1).astype(np.float32))
    assert [p.value for p in found] == pytest.approx(expected.tolist())


def test_what_cannot_be_used_is_named_and_the_others_go_on(store, files, tmp_path):
    (tmp_path / "half.cif").write_text(CIF.replace("0.5 0.5 0.5 1", "0.5 0.5 0.5 0.5"), encoding="utf-8")
    (tmp_path / "close.xyz").write_text("2\n\nH 0 0 0\nH 0 0 0.01\n", encoding="utf-8")
    (tmp_path / "big.xyz").write_text(
        "10\n\n" + "".join(f"H {2 * i} 0 0\n" for i in range(10)), encoding="utf-8"
    )
    bad = [tmp_path / name for name in ("half.cif", "close.xyz", "big.xyz", "gone.cif")]
    _, found = predict([bad[0], files[0], *bad[1:]], "alpha", "energy", PARAMS, store)
    assert [p.value is None for p in found] == [True, False, True, True, True]
    words = ["half.cif", None, "min_dist", "too_large", "gone.cif cannot be read"]
    for prediction, word in zip(found, words, strict=True):
        assert (prediction.error is None) == (word is None)
        assert word is None or word in prediction.error


def test_file_with_several_structures_has_a_row_each(store, tmp_path):
    path = tmp_path / "many.xyz"
    path.write_text(WATER + "1\n\nHe 0 0 0\n", encoding="utf-8")
    _, found = predict([path], "alpha", "energy", PARAMS, store)
    assert [p.name for p in found] == ["many-0", "many-1"]


@pytest.mark.parametrize(
    ("dataset", "target", "message"),
    [
        ("alpa", "energy", r"unknown dataset 'alpa'.*did you mean 'alpha'"),
        ("alpha", "enrgy", r"unknown property 'enrgy' in alpha; did you mean 'energy'"),
        ("alpha", "gap", r"no head was chosen for alpha/gap; run strata fit alpha"),
        ("../x", "gap", r"not a valid name"),
        ("alpha", "x'; DROP TABLE runs --", r"unknown property"),
    ],
)
def test_unknown_target(store, files, dataset, target, message):
    with pytest.raises(StrataError, match=message):
        predict(files, dataset, target, PARAMS, store)


def test_model_that_was_removed(store, files, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy")
    shutil.rmtree(copy / "runs/alpha/models")
    with pytest.raises(StrataError, match=r"the model of run .* is not at .*strata fit alpha again"):
        predict(files, "alpha", "energy", PARAMS, copy)


def model_of(extraction: str) -> ChosenModel:
    """Return a model that learned from one extraction of the embedded source model."""
    return ChosenModel(
        run_id="r",
        dataset="alpha",
        property="energy",
        unit="eV",
        head="ridge",
        label=None,
        feature_set="atom_bond_angle_last",
        source_model=EMBEDDED,
        extraction_id=extraction,
        folder=Path(),
        test_mae=1.0,
        base_test_mae=None,
    )


@pytest.fixture
def described(tmp_path):
    """A store that knows which checkpoints the embedded source model has; vectors are not needed."""
    describe(tmp_path / "store", extraction_id(load_card(EMBEDDED)), EMBEDDED)
    return featurestore.open(tmp_path / "store")


def test_vectors_are_those_of_the_engine_and_a_reject_is_named(described):
    params = parse({"extract": {"device": "cpu", "backbones": {"alignn": {"max_angles": 5_000}}}})
    small = Structure(np.eye(3) * 4.05, [13], [[0, 0, 0]])
    corners = np.stack(np.meshgrid(*[np.arange(4) / 4] * 3), -1).reshape(-1, 3)
    large = Structure(np.eye(3) * 12, [13] * 64, corners + np.random.default_rng(0).normal(0, 0.01, (64, 3)))
    model = model_of(extraction_id(load_card(EMBEDDED)))
    vectors, errors = EMBED([small, large], model, described, params)
    assert errors[0] is None
    assert errors[1].startswith("too_large")
    direct = alignn_engine()([small])
    assert vectors.shape == (2, 768)
    expected = together(direct.vectors, ["atom_8", "bond_8", "angle_4"])
    np.testing.assert_allclose(vectors[0], expected[0], rtol=1e-5, atol=1e-6)


def test_vectors_of_another_extraction_are_refused(described):
    structure = Structure(np.eye(3) * 4.05, [13], [[0, 0, 0]])
    with pytest.raises(StrataError, match="learned from extraction 0000000000000000; alignn_mp_eform"):
        EMBED([structure], model_of("0" * 16), described, PARAMS)


def test_a_committee_gives_the_mean_of_its_members(tmp_path, files):
    root = small_store(tmp_path / "store")
    asked = {
        "heads": ["ridge", "stiff"],
        "properties": {"alpha": ["energy"]},
        "choose_by": "cv",
        "repeats": 1,
        "committee": "greedy",
        "feature_sets": ["last"],
        "composition": f"{SOURCE}/last",
    }
    sections = {"stiff": {"class": "ridge", "alphas": [1e9]}}
    params = parse({**PARAMS.model_dump(), "fit": asked, "heads": sections})
    report = fit("alpha", params, root)
    store = featurestore.open(root)
    (made, *_) = [run for run in report.runs if run.head == "committee"]
    (committee,) = module._models(store, "run_id = ?", [made.run_id])
    members = members_of(committee.folder)
    value_of = module._values_of(committee, store, params, 0, None)
    structures = [structure for file in files for _, structure, _ in module._read(file, params)]
    values, errors = value_of(structures, ["", "", ""])
    assert errors == [None] * 3
    each = [
        member.weight
        * module._values_of(*module._models(store, "run_id = ?", [member.run_id]), store, params, 0, None)(
            structures, ["", "", ""]
        )[0]
        for member in members
    ]
    np.testing.assert_allclose(values, np.sum(each, axis=0))
    forest, *_ = module._models(store, "method = ?", ["composition"])  # may be a member, too
    assert np.isfinite(module._values_of(forest, store, params, 0, None)(structures, ["", "", ""])[0]).all()
    crowd = Structure(np.eye(3) * 20, np.full(12, 14), np.arange(36).reshape(12, 3) / 36)
    values, errors = value_of([structures[0], crowd], ["", ""])
    assert np.isfinite(values[0])
    assert errors == [None, "too_large: ten atoms"]


def test_a_flipped_bit_of_the_model_is_found_before_anything_is_predicted(store, files, tmp_path):
    root = tmp_path / "store"
    shutil.copytree(store, root)
    model = chosen_model(featurestore.open(root), "alpha", "energy")
    path = model.folder / "arrays.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-2] + bytes([data[-2] ^ 64]) + data[-1:])
    with pytest.raises(StrataError, match=r"arrays\.safetensors has another SHA-256"):
        predict(files, "alpha", "energy", PARAMS, root)
    (model.folder / "SHA256SUMS").unlink()  # the log keeps the hash of the list
    with pytest.raises(StrataError, match="SHA256SUMS is missing"):
        predict(files, "alpha", "energy", PARAMS, root)


def test_of_a_committee_each_network_runs_once(described, monkeypatch):
    model = model_of(extraction_id(load_card(EMBEDDED)))
    structure = Structure(np.eye(3) * 4.05, [13], [[0, 0, 0]])
    alone = EMBED([structure], model, described, PARAMS)
    said = {}
    first = EMBED([structure], model, described, PARAMS, said=said)
    monkeypatch.setattr(module, "make_engine", None)  # is not asked again
    again = EMBED([structure], model, described, PARAMS, said=said)
    for vectors, errors in (first, again):
        assert np.array_equal(vectors, alone[0])
        assert errors == alone[1]
