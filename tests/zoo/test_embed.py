"""Vectors in one call: whatever library a structure comes from, whatever is wrong with one of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from typer.testing import CliRunner

from core.errors import StrataError
from core.params import Extract
from core.structure import Structure
from tests.engines import alignn_engine
from zoo.cli import app
from zoo.embed import embed, embed_files, write
from zoo.extraction import extraction_id, together
from zoo.given import as_structure
from zoo.hub import load_card

ROOT = Path(__file__).parents[2]
SETTINGS = Extract(threads=1, device="cpu")
SALT = bulk("NaCl", "rocksalt", a=5.64)
COPPER = bulk("Cu")
POSCAR = "Al\n1.0\n4.05 0 0\n0 4.05 0\n0 0 4.05\nAl\n1\ndirect\n0 0 0\n"
WATER = "3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"
CLOSE = "2\n\nH 0 0 0\nH 0 0 0.01\n"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def all_kinds() -> dict[str, object]:
    """One crystal, as every library has it."""
    jarvis = pytest.importorskip("jarvis.core.atoms")
    ours = Structure.from_ase(SALT)
    return {
        "strata": ours,
        "ase": SALT,
        "pymatgen": ours.to_pymatgen(),
        "pymatgen dictionary": ours.to_pymatgen().as_dict(),
        "jarvis": jarvis.Atoms.from_dict(ours.to_jarvis_dict()),
        "jarvis dictionary": ours.to_jarvis_dict(),
        "jarvis, cartesian": jarvis.Atoms(
            lattice_mat=ours.lattice, coords=ours.positions, elements=ours.symbols, cartesian=True
        ),
    }


def test_every_library_gives_the_same_vectors():
    kinds = all_kinds()
    found = embed(kinds.values(), ids=list(kinds), settings=SETTINGS)
    assert found.rejects == ()
    assert found.ids == tuple(kinds)
    np.testing.assert_allclose(found.vectors, np.tile(found.vectors[0], (len(kinds), 1)), atol=1e-5)


def test_vectors_are_the_engines():
    found = embed([SALT, COPPER], checkpoints=["bond_3", "atom_0"], settings=SETTINGS)
    direct = alignn_engine()([as_structure(SALT), as_structure(COPPER)])
    expected = together(direct.vectors, ["bond_3", "atom_0"])
    assert [(c.name, c.kind, c.depth) for c in found.checkpoints] == [
        ("bond_3", "bond", 3),
        ("atom_0", "atom", 0),
    ]
    assert found.vectors.dtype == np.float32
    np.testing.assert_allclose(found.vectors, expected, atol=1e-5)


def test_frame_has_a_row_a_structure_and_a_column_a_checkpoint():
    found = embed([SALT, COPPER], ids=["salt", "copper"], settings=SETTINGS)
    assert isinstance(found.frame, pd.DataFrame)
    assert list(found.frame.index) == ["salt", "copper"]
    assert list(found.frame.columns) == ["atom_8", "bond_8", "angle_4"]
    np.testing.assert_array_equal(np.concatenate(found.frame.loc["copper"]), found.vectors[1])


def test_one_structure_or_file_is_enough(tmp_path):
    path = tmp_path / "POSCAR"
    path.write_text(POSCAR, encoding="utf-8")
    for one, name, formula in ((COPPER, 0, "Cu"), (path, "POSCAR", "Al"), (str(path), "POSCAR", "Al")):
        found = embed(one, checkpoints=["atom_8"], settings=SETTINGS)
        assert (found.ids, found.formulas, found.vectors.shape) == ((name,), (formula,), (1, 256))
        many = embed([SALT, one], checkpoints=["atom_8"], settings=SETTINGS)
        np.testing.assert_allclose(many.vectors[1], found.vectors[0], atol=1e-5)


def test_molecules_are_boxed():
    found = embed([molecule("H2O")], settings=SETTINGS)
    assert found.rejects == ()
    assert np.isfinite(found.vectors).all()


def test_what_cannot_be_used_is_reported_and_the_others_go_on():
    overlapping = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.01]], cell=np.eye(3) * 5, pbc=True)
    slab = Atoms("Cu", cell=[4, 4, 0], pbc=[True, True, False])
    unknown_element = Structure.from_ase(SALT).to_jarvis_dict() | {"elements": ["Na", "Xx"]}
    flat = {"lattice_mat": [[1, 0, 0], [0, 1, 0], [1, 1, 0]], "coords": [[0, 0, 0]], "elements": ["H"]}
    big = bulk("Cu", cubic=True) * (3, 3, 3)
    names = ["overlapping", "salt", "slab", "element", "flat", "big"]
    found = embed(
        [overlapping, SALT, slab, unknown_element, flat, big],
        ids=names,
        settings=SETTINGS.model_copy(update={"backbones": {"alignn": {"max_angles": 10_000}}}),
    )
    assert found.ids == ("salt",)
    assert {r.entry_id: r.code for r in found.rejects} == {
        "overlapping": "min_dist",
        "slab": "no_cell",
        "element": "no_features",
        "flat": "zero_volume",
        "big": "too_large",
    }


def test_the_short_python_api_has_it():
    import strata
    from zoo.embedder import Embedder
    from zoo.near import near

    assert (strata.embed, strata.near, strata.Embedder) == (embed, near, Embedder)


def test_no_structures():
    found = embed([], settings=SETTINGS)
    assert found.vectors.shape == (0, 768)
    assert len(found.frame) == 0


def test_more_than_one_task_keeps_the_order():
    edges = np.linspace(3.4, 3.9, 70)
    found = embed([bulk("Cu", a=a) for a in edges], checkpoints=["atom_8"], settings=SETTINGS)
    assert found.ids == tuple(range(70))
    alone = embed([bulk("Cu", a=edges[66])], checkpoints=["atom_8"], settings=SETTINGS)
    np.testing.assert_allclose(found.vectors[66], alone.vectors[0], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"checkpoints": ["atom_9"]},
            r"unknown checkpoint 'atom_9' in source model alignn_mp_eform; did you mean 'atom_",
        ),
        (
            {"source_model": "alignn_mp_form"},
            r"unknown source model 'alignn_mp_form'; did you mean 'alignn_mp_eform'",
        ),
        ({"ids": ["a", "b"]}, r"2 ids for 1 structures or files"),
    ],
)
def test_what_is_asked_for_must_exist(arguments, message):
    with pytest.raises(StrataError, match=message):
        embed([SALT], settings=SETTINGS, **arguments)


def test_an_object_of_another_kind_is_named():
    with pytest.raises(StrataError, match=r"and this is a ndarray"):
        embed([np.eye(3)])


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """A metal, a molecule, two overlapping atoms, and a file that is not there."""
    for name, text in (("POSCAR", POSCAR), ("water.xyz", WATER), ("close.xyz", CLOSE)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return [tmp_path / name for name in ("POSCAR", "water.xyz", "close.xyz", "gone.cif")]


def test_files(files):
    found = embed_files(files, settings=SETTINGS)
    assert (found.ids, found.formulas) == (("POSCAR", "water"), ("Al", "H2O"))
    assert [r.code for r in found.rejects] == ["min_dist", "unreadable"]
    assert "gone.cif cannot be read" in found.rejects[1].message


def test_files_of_one_name_keep_apart(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "POSCAR").write_text(POSCAR, encoding="utf-8")
    found = embed_files([tmp_path / "a" / "POSCAR", tmp_path / "b" / "POSCAR"], settings=SETTINGS)
    assert found.ids == (str(tmp_path / "a" / "POSCAR"), str(tmp_path / "b" / "POSCAR"))


def call(*words: object):
    return CliRunner().invoke(app, ["embed", *map(str, words)], env={"COLUMNS": "200"})


def test_command_writes_parquet_with_provenance(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no params.yaml, no store
    done = call(*files, "--checkpoints", "atom_8, angle_4", "-o", "out.parquet")
    assert done.exit_code == 0, done.output
    assert "out.parquet: 2 structures, atom_8, angle_4" in done.output
    assert "left out, min_dist: close" in done.output
    table = pq.read_table("out.parquet")
    assert table.column_names == ["id", "formula", "atom_8", "angle_4"]
    assert table["id"].to_pylist() == ["POSCAR", "water"]
    expected = embed_files(files, checkpoints=["atom_8", "angle_4"], settings=SETTINGS)
    vectors = np.stack([np.stack(table[name].to_numpy()) for name in ("atom_8", "angle_4")], axis=1)
    np.testing.assert_allclose(vectors.reshape(2, -1), expected.vectors, atol=1e-5)
    metadata = table.schema.metadata
    assert metadata[b"strata.extraction_id"].decode() == extraction_id(load_card("alignn_mp_eform"))
    assert not (tmp_path / "store").exists()


def test_command_takes_its_settings_from_params(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(
        "extract: {backbones: {alignn: {max_angles: 10}}}\n", encoding="utf-8"
    )
    done = call(files[0], "-o", "out.parquet")
    assert isinstance(done.exception, StrataError)
    assert "no structure could be embedded: POSCAR: 1 atoms make" in str(done.exception)


def test_write_refuses_what_it_cannot_do(files, tmp_path):
    found = embed_files(files[:1], settings=SETTINGS)
    with pytest.raises(StrataError, match=r"ends in \.parquet"):
        write(found, tmp_path / "out.csv")
    with pytest.raises(StrataError, match="cannot be written"):
        write(found, tmp_path / "nowhere" / "out.parquet")
