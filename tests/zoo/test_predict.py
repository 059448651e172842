"""Values for new structures: files and objects in, one row for each out, rejects in their place."""

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk

import featurestore
from core.errors import StrataError
from core.executor import Processes
from core.structure import Structure
from core.table_file import TableFile
from etl.columns import keep_columns
from evaluation.evaluate import evaluate
from heads.fit import fit
from tests.models import (
    BOTH,
    CIF,
    ELEMENTS,
    FOLDED,
    MODULUS,
    POSCAR,
    REAL,
    WATER,
    of_store,
    settings,
)
from tests.stores import OTHER, SOURCE, small_store, vectors_of
from zoo import predict as module
from zoo.model import Model
from zoo.predict import expand, predict_files, predict_structures, read_objects
from zoo.stored import model_of, stored_model


@pytest.fixture
def model(folded, stand_in) -> Model:
    """A ridge on made-up vectors; nothing was loaded for it yet."""
    return stored_model(featurestore.open(folded), "alpha", "energy", FOLDED)


def together(frames) -> pd.DataFrame:
    return pd.concat(list(frames), ignore_index=True)


def refused(tmp_path):
    """Write files of which none can be used, each for a reason of its own."""
    half = CIF.replace("0.5 0.5 0.5 1", "0.5 0.5 0.5 0.5")
    ten = "10\n\n" + "".join(f"H {2 * i} 0 0\n" for i in range(10))
    texts = {"half.cif": half, "close.xyz": "2\n\nH 0 0 0\nH 0 0 0.01\n", "ten.xyz": ten, "note.txt": "x"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "bytes.cif").write_bytes(b"\xff\xfe")
    names = ("half.cif", "close.xyz", "ten.xyz", "note.txt", "bytes.cif", "gone.cif")
    reasons = (
        "disordered",
        "min_dist",
        "too_large: ten atoms",
        "unknown kind",
        "not UTF-8",
        "cannot be read",
    )
    return [tmp_path / name for name in names], reasons


def test_three_kinds_of_file(model, files):
    found = together(predict_files(model, files))
    assert found["file"].tolist() == [str(file) for file in files]
    assert found["structure"].tolist() == ["salt", "POSCAR", "water"]
    assert found["formula"].tolist() == ["ClNa", "Al", "H2O"]
    assert found["error"].tolist() == [""] * 3
    (member,) = model.members
    vectors = [vectors_of(number) for number in (5000 + 28 + 2, 5000 + 13 + 1, 5000 + 10 + 3)]
    X = np.stack([np.concatenate([v["atom_8"], v["bond_8"], v["angle_4"]]) for v in vectors])
    np.testing.assert_allclose(found["value"], member.head.predict(X))
    assert set(found["unit"]) == {"eV"}
    assert (found["low"] < found["value"]).all()
    assert (found["value"] < found["high"]).all()


def test_what_cannot_be_used_has_a_row_with_its_reason_in_its_place(model, files, tmp_path):
    bad, reasons = refused(tmp_path)
    asked = [bad[0], files[0], *bad[1:3], files[1], *bad[3:]]
    found = together(predict_files(model, asked))
    assert found["file"].tolist() == [str(path) for path in asked]
    good = found["error"] == ""
    assert np.flatnonzero(good).tolist() == [1, 4]
    for said, reason in zip(found.loc[~good, "error"], reasons, strict=True):
        assert reason in said
    numbers = found.select_dtypes("float").columns
    assert {"value", "low", "high", "expected_error", "level", "percentile", "near_1_distance"} <= set(
        numbers
    )
    assert found.loc[~good, numbers].isna().all(axis=None)
    assert found.loc[good, ["value", "low", "high"]].notna().all(axis=None)
    assert (found.loc[~good, ["domain", "in_training", "model", "near_1"]] == "").all(axis=None)
    assert found["rows_seen"].dtype == found["training_rows"].dtype == np.int64
    alone = together(predict_files(model, files[:2]))
    pd.testing.assert_frame_equal(found[good].reset_index(drop=True), alone)


def test_where_all_are_rejected_columns_keep_their_kinds(model, files, tmp_path):
    bad, _ = refused(tmp_path)
    for asked in (bad, bad[:2], bad[2:3]):  # read and refused, never read, refused by the network
        found = together(predict_files(model, asked))
        assert len(found) == len(asked)
        assert (found["error"] != "").all()
        whole = together(predict_files(model, files))
        assert found.columns.tolist() == whole.columns.tolist()
        assert found.dtypes.to_dict() == whole.dtypes.to_dict()


@pytest.mark.parametrize("ending", [".csv", ".json", ".parquet"])
def test_a_table_may_begin_with_rejects_alone(model, files, tmp_path, monkeypatch, ending):
    bad, _ = refused(tmp_path)
    monkeypatch.setattr(module, "FILES_AT_ONCE", 2)
    path = tmp_path / f"found{ending}"
    with TableFile(path) as file:
        for frame in predict_files(model, [*bad[:2], *files]):
            file.append(frame)
    read = {".csv": pd.read_csv, ".json": pd.read_json, ".parquet": pd.read_parquet}[ending](path)
    assert len(read) == 5
    np.testing.assert_allclose(read["value"][2:], together(predict_files(model, files))["value"])


def test_a_file_with_several_structures_has_a_row_each(model, tmp_path):
    path = tmp_path / "many.xyz"
    path.write_text(WATER + "2\n\nH 0 0 0\nH 0 0 0.01\n" + "1\n\nHe 0 0 0\n", encoding="utf-8")
    found = together(predict_files(model, [path]))
    assert found["structure"].tolist() == ["many-0", "many-1", "many-2"]
    assert (found["error"] == "").tolist() == [True, False, True]
    assert found["file"].unique().tolist() == [str(path)]


def test_batches_change_nothing(model, files, tmp_path, monkeypatch):
    bad, _ = refused(tmp_path)
    asked = [files[0], *bad, *files[1:]]
    whole = together(predict_files(model, asked))
    monkeypatch.setattr(module, "FILES_AT_ONCE", 2)
    frames = list(predict_files(model, asked))
    assert [len(frame) for frame in frames] == [2, 2, 2, 2, 1]
    pd.testing.assert_frame_equal(together(frames), whole)


def test_each_network_is_loaded_once(committee, stand_in, files, monkeypatch):
    model = stored_model(featurestore.open(committee), "alpha", "energy", BOTH)
    monkeypatch.setattr(module, "FILES_AT_ONCE", 1)
    found = together(predict_files(model, files * 3))
    assert sorted(stand_in) == sorted(model.sources)
    assert (found["error"] == "").all()


def test_no_files_load_no_rows(model):
    assert list(predict_files(model, [])) == []


class Here(Processes):
    """Workers that are this process."""

    def __init__(self, workers, initializer=None, arguments=(), threads=1):
        assert workers > 0
        super().__init__(0, initializer, arguments, threads)


def test_workers_are_given_all_that_they_need(model, files, tmp_path, monkeypatch):
    bad, _ = refused(tmp_path)
    asked = [files[0], *bad, *files[1:]]
    here = together(predict_files(model, asked))
    monkeypatch.setattr(module, "WORTH_WORKERS", 1)
    monkeypatch.setattr(module, "FILES_AT_ONCE", 2)
    many = Model(**{**vars(model), "settings": model.settings.model_copy(update={"workers": 2})})
    pd.testing.assert_frame_equal(together(predict_files(many, asked, executor=Here)), here)


@pytest.mark.slow
def test_two_processes_say_what_one_says(elements, tmp_path, monkeypatch):
    model = stored_model(featurestore.open(elements), ELEMENTS, MODULUS, REAL)
    asked = []
    for name in ("Cu", "Al", "Ni", "Ag", "Si"):
        asked.append(tmp_path / f"{name}.vasp")
        bulk(name).write(asked[-1], format="vasp")
    asked.insert(2, tmp_path / "gone.cif")
    here = together(predict_files(model, asked))
    monkeypatch.setattr(module, "WORTH_WORKERS", 1)
    monkeypatch.setattr(module, "FILES_AT_ONCE", 2)
    many = Model(**{**vars(model), "settings": model.settings.model_copy(update={"workers": 2})})
    found = together(predict_files(many, asked))
    texts = found.select_dtypes("object").columns
    assert found[texts].equals(here[texts])
    np.testing.assert_allclose(found["value"], here["value"], rtol=1e-4)


def test_structures_of_any_library_and_paths_may_be_mixed(model, files):
    salt = bulk("NaCl", "rocksalt", a=5.64)
    ours = Structure.from_ase(salt)
    given = [salt, ours, ours.to_pymatgen(), ours.to_pymatgen().as_dict(), ours.to_jarvis_dict()]
    found = predict_structures(model, [*given, str(files[1]), files[2]])
    assert found["structure"].tolist() == ["0", "1", "2", "3", "4", "POSCAR", "water"]
    assert found["formula"].tolist() == ["ClNa"] * 5 + ["Al", "H2O"]
    np.testing.assert_allclose(found["value"][:5], found["value"][0])
    assert found["file"].tolist() == [""] * 5 + [str(files[1]), str(files[2])]


def test_one_structure_is_one_row(model, files):
    for one in (bulk("Al"), Structure.from_ase(bulk("Al")), files[1], str(files[1])):
        found = predict_structures(model, one)
        assert len(found) == 1
        assert found["formula"].tolist() == ["Al"]
    assert found.attrs == {"unit": "eV"}


def test_what_is_no_structure_ends_it(model):
    with pytest.raises(StrataError, match="this is a float"):
        predict_structures(model, [bulk("Al"), 1.5])
    with pytest.raises(StrataError, match="this is a NoneType"):
        predict_structures(model, None)


def test_a_structure_that_cannot_be_used_has_its_reason(model):
    crowd, lone = bulk("Al", cubic=True) * (2, 2, 1), bulk("Al")
    close = Structure(np.eye(3) * 5, [1, 1], [[0, 0, 0], [0, 0, 0.001]])
    found = predict_structures(model, [crowd, close, lone])
    assert found["error"][0] == "too_large: ten atoms"
    assert found["error"][1].startswith("min_dist")
    assert found["value"].isna().tolist() == [True, True, False]


def test_names_are_those_that_are_given(model, files):
    found = predict_structures(model, [bulk("Al"), files[0]], ["aluminium", "salt of the sea"])
    assert found["structure"].tolist() == ["aluminium", "salt of the sea"]
    with pytest.raises(StrataError, match="1 names for 2 structures"):
        predict_structures(model, [bulk("Al"), bulk("Cu")], ["a"])


def test_one_name_for_several_structures_is_refused(model, tmp_path):
    path = tmp_path / "two.xyz"
    path.write_text(WATER * 2, encoding="utf-8")
    with pytest.raises(StrataError, match=r"two\.xyz holds 2 structures, and one name was given: 'mine'"):
        read_objects([path], model.limits, ["mine"])


def test_a_file_of_several_structures_beside_objects(model, tmp_path):
    path = tmp_path / "two.xyz"
    path.write_text(WATER * 2, encoding="utf-8")
    found = predict_structures(model, [bulk("Al"), path, bulk("Cu")])
    assert found["structure"].tolist() == ["0", "two-0", "two-1", "2"]
    assert found.index.tolist() == [0, 1, 2, 3]


def test_a_level_widens_the_intervals_and_is_said(model, files):
    half, most = (predict_structures(model, files, level=level) for level in (0.5, 0.9))
    assert set(half["level"]) == {0.5}
    assert ((most["high"] - most["low"]) > (half["high"] - half["low"])).all()
    with pytest.raises(StrataError, match="lies between 0 and 1"):
        predict_structures(model, files, level=1)


def test_folders_files_and_patterns(tmp_path, files):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "CONTCAR").write_text(POSCAR, encoding="utf-8")
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    (tmp_path / "[odd].cif").write_text(CIF, encoding="utf-8")
    salt, poscar, water = files
    every = [poscar, tmp_path / "[odd].cif", inner / "CONTCAR", salt, water]
    assert expand([tmp_path]) == sorted(every)
    assert expand([str(tmp_path / "*.xyz"), water, str(water)]) == [water]
    assert expand([str(tmp_path / "**" / "*CAR")]) == sorted([inner / "CONTCAR", poscar])
    assert expand([tmp_path / "[odd].cif"]) == [tmp_path / "[odd].cif"]  # a name that is there is no pattern
    assert expand([str(tmp_path / "inne?")]) == [inner / "CONTCAR"]
    assert expand([salt, inner, salt]) == [salt, inner / "CONTCAR"]
    assert expand(["gone.cif"]) == [tmp_path.__class__("gone.cif")]  # a reject once it is read


def test_a_folder_without_structures_and_a_pattern_without_files_are_named(tmp_path):
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(StrataError, match="has no structure files"):
        expand([tmp_path])
    with pytest.raises(StrataError, match=r"no file matches .*\*\.cif"):
        expand([tmp_path / "*.cif"])


@pytest.fixture(scope="module")
def with_columns(tmp_path_factory):
    """A store whose chosen head reads a vector and two columns of one's own."""
    folder = tmp_path_factory.mktemp("own")
    rows = [f"alpha-{i},{vectors_of(i)['atom_8'].sum()},{i % 2}" for i in range(40)]
    (folder / "own.csv").write_text("\n".join(["entry,signal,kind", *rows, ""]), encoding="utf-8")
    plain = settings(heads=["ridge"], feature_sets=["own/all"])
    own = {"own": {"table": str(folder / "own.csv"), "dataset": "alpha"}}
    params = type(plain).model_validate({**plain.model_dump(), "columns": own})
    root = small_store(folder / "store")
    keep_columns("own", params, root)
    fit("alpha", params, root)
    evaluate(params, root, folder)
    return root, params


def test_columns_of_ones_own_come_by_the_structures_names(with_columns, stand_in, tmp_path, files):
    root, params = with_columns
    model = stored_model(featurestore.open(root), "alpha", "energy", params)
    table = tmp_path / "new.csv"
    table.write_text("name,kind,signal\nsalt,0,2.5\nwater,1,\n", encoding="utf-8")
    found = together(predict_files(model, files, columns=table))
    assert found["value"][0] == pytest.approx(2.5, abs=0.5)
    assert "no_columns: POSCAR has no row in the table of columns" in found["error"][1]
    assert "missing_value: water has no signal" in found["error"][2]
    named = predict_structures(model, [bulk("Al"), files[1]], ["salt", "salt and more"], columns=table)
    assert named["value"][0] == found["value"][0]
    assert stand_in == []  # it reads no network


def test_without_their_columns_an_error_says_which(with_columns, stand_in, tmp_path, files):
    root, params = with_columns
    model = stored_model(featurestore.open(root), "alpha", "energy", params)
    with pytest.raises(StrataError, match=r"reads the columns signal, kind of own.*--columns FILE"):
        next(predict_files(model, files))
    (tmp_path / "new.csv").write_text("name,kind\none,1\n", encoding="utf-8")
    with pytest.raises(StrataError, match="unknown column 'signal'"):
        next(predict_files(model, files, columns=tmp_path / "new.csv"))


def test_two_structures_of_one_name_cannot_share_a_row_of_columns(with_columns, stand_in, tmp_path, files):
    root, params = with_columns
    model = stored_model(featurestore.open(root), "alpha", "energy", params)
    other = tmp_path / "inner" / "POSCAR"
    other.parent.mkdir()
    other.write_text(POSCAR, encoding="utf-8")
    table = tmp_path / "new.csv"
    table.write_text("name,kind,signal\nPOSCAR,0,2.5\n", encoding="utf-8")
    said = r"POSCAR and .*inner.POSCAR are both called POSCAR, .*rename one"
    with pytest.raises(StrataError, match=said):
        next(predict_files(model, [files[1], other], columns=table))
    with pytest.raises(StrataError, match=said):
        predict_structures(model, [files[1], other], columns=table)
    found = predict_structures(model, [files[1], other], ["POSCAR", "other"], columns=table)
    assert (found["error"] == "").tolist() == [True, False]


def test_files_of_one_name_are_no_matter_without_columns(model, tmp_path, files):
    other = tmp_path / "inner" / "POSCAR"
    other.parent.mkdir()
    other.write_text(POSCAR, encoding="utf-8")
    found = together(predict_files(model, [files[1], other]))
    assert found["structure"].tolist() == ["POSCAR", "POSCAR"]
    assert found["file"].nunique() == 2


def test_a_structure_that_one_network_refuses_is_predicted_by_the_others(committee, stand_in, monkeypatch):
    from tests.models import StandIn
    from zoo.chosen import models_where

    store = featurestore.open(committee)
    (run,) = models_where(store, "method = 'committee' AND seed = 0", [])
    model = model_of(store, run, BOTH)
    sources = {block.source for member in model.members for block in member.blocks}
    assert sources == {SOURCE, OTHER}
    whole = predict_structures(model, of_store(5))
    vectors = StandIn.vectors
    monkeypatch.setattr(
        StandIn,
        "vectors",
        lambda self, structure: {
            name: vector * (np.nan if self.name == OTHER else 1)
            for name, vector in vectors(self, structure).items()
        },
    )
    found = predict_structures(model, of_store(5))
    assert found["error"].tolist() == [""]
    left = [m for m in model.members if {block.source for block in m.blocks} == {SOURCE}]
    X = {SOURCE: np.concatenate([vectors_of(5)[c.name] for c in model.sources[SOURCE].checkpoints])[None]}
    each = [m.head.predict(model.columns_of(m.blocks, X))[0] for m in left]
    expected = np.average(each, weights=[m.weight for m in left])
    assert found["value"][0] == pytest.approx(expected)
    assert found["value"][0] != pytest.approx(whole["value"][0])
