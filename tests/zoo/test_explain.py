"""Shares of atoms: exact for linear heads, raw differences for others, and nothing lost in silence."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from hypothesis import given
from hypothesis import strategies as st

from core.errors import StrataError
from core.params import Extract
from core.structure import Structure
from featurestore.query.feature_sets import Block
from heads import SVR, Ridge
from heads.linear import Linear, weights_of
from tests.crystals import random_structure, varied_structures
from tests.engines import alignn_engine
from zoo.backbones.rows import Rows
from zoo.explain import APPROXIMATE, EXACT, Explanation, shares
from zoo.extraction import make_engine, together

WATER = Structure.from_ase(molecule("H2O"), vacuum=20.0)


class Case:
    """Random rows of four blocks: atoms, bonds, angles, and two columns that are no means."""

    def __init__(self, seed: int, n_atoms: int = 4) -> None:
        rng = self.rng = np.random.default_rng(seed)
        sizes = [(n_atoms, 1, 3), (9, 2, 2), (int(rng.integers(0, 8)), 3, 4)]
        atoms = [np.arange(n_atoms)[:, None], *(rng.integers(0, n_atoms, (m, k)) for m, k, _ in sizes[1:])]
        self.rows: list[Rows | None] = [
            Rows(rng.normal(size=(m, width)).astype(np.float32), own)
            for own, (m, _, width) in zip(atoms, sizes, strict=True)
        ]
        self.rows.append(None)
        self.blocks = [(0, 3), (3, 5), (5, 9), (9, 11)]
        self.numbers = rng.choice([8, 22, 38], n_atoms)
        self.x = np.concatenate([*(rows.mean() for rows in self.rows[:3]), rng.normal(size=2)])
        self.x0 = rng.normal(size=11)
        self.linear = Linear(rng.normal(size=11), float(rng.normal()))

    def explain(self, predict, **more) -> Explanation:
        return shares(predict, self.blocks, self.rows, self.numbers, self.x, self.x0, **more)

    def by_weights(self, X: np.ndarray) -> np.ndarray:
        return X @ self.linear.w + self.linear.b

    def parts(self) -> np.ndarray:
        """What each atom adds to the vector, row by row and atom by atom."""
        found = np.zeros((len(self.numbers), len(self.x)))
        for rows, (start, stop) in zip(self.rows, self.blocks, strict=True):
            for vector, atoms in zip(*(rows or ((), ())), strict=True):
                for atom in atoms:
                    added = (vector - self.x0[start:stop]) / len(rows.vectors) / len(atoms)
                    found[atom, start:stop] += added
        return found


seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.integers(1, 6))
def test_of_a_linear_head_shares_are_exact_and_add_up(seed, n_atoms):
    case = Case(seed, n_atoms)
    found = case.explain(case.by_weights, linear=case.linear, unit="eV")
    assert (found.method, found.unit) == (EXACT, "eV")
    assert found.value == pytest.approx(case.x @ case.linear.w + case.linear.b, abs=1e-12)
    assert found.base == pytest.approx(case.x0 @ case.linear.w + case.linear.b, abs=1e-12)
    np.testing.assert_allclose(found.atoms, case.parts() @ case.linear.w, atol=1e-9)
    assert found.base + sum(block.share for block in found.blocks) == pytest.approx(found.value, abs=1e-9)
    left = sum(block.share for block in found.blocks if not block.on_atoms)
    assert found.remainder == pytest.approx(left, abs=1e-9)
    assert found.base + found.atoms.sum() + found.remainder == pytest.approx(found.value, abs=1e-12)


@given(seeds)
def test_leaving_rows_out_is_exact_where_the_head_is_linear(seed):
    case = Case(seed)
    exact, found = case.explain(case.by_weights, linear=case.linear), case.explain(case.by_weights)
    assert found.method == APPROXIMATE
    np.testing.assert_allclose(found.atoms, exact.atoms, atol=1e-9)
    np.testing.assert_allclose([b.share for b in found.blocks], [b.share for b in exact.blocks], atol=1e-9)
    assert found.remainder == pytest.approx(exact.remainder, abs=1e-9)


@given(seeds)
def test_of_another_head_shares_are_the_raw_differences_in_one_call(seed):
    case, calls = Case(seed), []

    def predict(X: np.ndarray) -> np.ndarray:
        calls.append(X.shape)
        return np.tanh(X @ case.linear.w) ** 2

    found = case.explain(predict)
    assert calls == [(2 + 4 + 4, 11)]
    (value,) = predict(case.x[None])
    without = case.x - case.parts()
    np.testing.assert_allclose(found.atoms, value - predict(without), atol=1e-9)
    for block, (start, stop) in zip(found.blocks, case.blocks, strict=True):
        changed = case.x.copy()
        changed[start:stop] = case.x0[start:stop]
        assert block.share == pytest.approx(value - predict(changed[None])[0], abs=1e-9)
    assert found.base + found.atoms.sum() + found.remainder == pytest.approx(found.value, abs=1e-12)


def test_what_does_not_add_up_is_the_remainder():
    """Two atoms that act together: a product, of which each alone takes away all."""
    rows = Rows(np.array([[2.0, 0.0], [0.0, 2.0]], np.float32), np.array([[0], [1]]))
    found = shares(lambda X: 3 * X[:, 0] * X[:, 1], [(0, 2)], [rows], [11, 17], np.ones(2), np.zeros(2))
    assert (found.value, found.base) == (3.0, 0.0)
    assert found.atoms.tolist() == [3.0, 3.0]
    assert found.remainder == -3.0


def test_the_only_atom_has_all_of_it_whatever_the_head():
    case = Case(3, n_atoms=1)
    case.x[9:] = case.x0[9:]  # nothing outside the atom
    case.x0[5:9] = case.x[5:9]
    found = case.explain(lambda X: np.exp(X @ case.linear.w / 5))
    assert found.atoms[0] == pytest.approx(found.value - found.base)
    assert found.remainder == pytest.approx(0, abs=1e-12)


def test_a_block_without_rows_here_belongs_to_no_atom():
    case = Case(0)
    case.rows[2] = Rows(np.zeros((0, 4), np.float32), np.zeros((0, 3), np.int64))
    case.x[5:9] = 0
    found = case.explain(case.by_weights, linear=case.linear)
    assert [block.on_atoms for block in found.blocks] == [True, True, False, False]
    expected = ((case.x - case.x0) * case.linear.w)[5:].sum()
    assert found.remainder == pytest.approx(expected, abs=1e-9)


def test_tables_have_a_row_per_atom_and_per_element():
    numbers, atoms = np.array([22, 8, 8, 38]), np.array([0.1, -0.4, -0.2, 0.05])
    found = Explanation(1.0, 1.5, EXACT, (), numbers, atoms, -0.05, "eV")
    table = found.frame()
    assert table.columns.tolist() == ["index", "element", "share"]
    assert table["index"].tolist() == [0, 1, 2, 3]
    assert table["element"].tolist() == ["Ti", "O", "O", "Sr"]
    assert table["share"].tolist() == atoms.tolist()
    elements = found.elements()
    assert elements.columns.tolist() == ["element", "atoms", "share"]
    assert elements["element"].tolist() == ["O", "Ti", "Sr"], "the largest first, whatever its sign"
    assert elements["atoms"].tolist() == [2, 1, 1]
    np.testing.assert_allclose(elements["share"], [-0.6, 0.1, 0.05])


def test_in_words_it_says_what_it_is_and_what_it_is_not():
    case = Case(1)
    case.blocks = [
        Block("alignn", "atom_8", "atom", 8, 0, 3), Block("alignn", "bond_8", "bond", 8, 3, 5),
        Block("alignn", "angle_4", "angle", 4, 5, 9), Block("magpie", "composition_0", "all", 0, 9, 11),
    ]  # fmt: skip
    exact = str(case.explain(case.by_weights, linear=case.linear, unit="eV/atom"))
    assert "(exact, linear head)" in exact
    assert f"predicts {case.by_weights(case.x):.4g} eV/atom" in exact
    assert "columns that are no means over atoms (magpie/composition_0)" in exact
    assert "does not add up" not in exact
    assert "not what causes the property" in exact
    other = str(case.explain(case.by_weights))
    assert "(approximation, by leaving rows out)" in other
    assert "(magpie/composition_0) and what does not add up" in other
    case.numbers = np.array([8, 22, 8, 8])
    words = str(case.explain(case.by_weights))
    assert "O (3 atoms)" in words
    assert "Ti (1 atom)" in words


def changed(**changes):
    """Return what `shares` is given for one case, with some of it changed."""
    case = Case(2)
    given = {
        "predict": case.by_weights, "blocks": case.blocks, "rows": case.rows, "numbers": case.numbers,
        "vector": case.x, "reference": case.x0,
    }  # fmt: skip
    return given | {name: change(case) for name, change in changes.items()}


WRONG = {
    "vector": ({"vector": lambda c: c.x[None]}, r"shapes \(1, 11\) and \(11,\); both must be \(d,\)"),
    "reference": ({"reference": lambda c: c.x0[:5]}, r"shapes \(11,\) and \(5,\)"),
    "no atoms": ({"numbers": lambda c: []}, r"atomic numbers have shape \(0,\)"),
    "a block too few": ({"blocks": lambda c: c.blocks[1:]}, "there are 3 blocks and rows of 4"),
    "a gap": ({"blocks": lambda c: [(0, 3), (3, 5), (5, 9), (9, 10)]}, "do not cover each of the 11 columns"),
    "an overlap": ({"blocks": lambda c: [(0, 3), (3, 5), (5, 9), (8, 11)]}, "do not cover each of the 11"),
    "few columns": (
        {"rows": lambda c: [c.rows[1], *c.rows[1:]]},
        r"columns 0 to 2: its rows have shape \(9, 2\), expected \(9, 3\)",
    ),
    "another structure's atoms": (
        {"numbers": lambda c: c.numbers[:2]},
        "columns 0 to 2: its rows belong to atoms beyond the 2 of the structure",
    ),
    "another structure's rows": (
        {"rows": lambda c: Case(5).rows},
        "columns 0 to 2: the mean of the rows is not the vector",
    ),
    "two values": (
        {"predict": lambda c: lambda X: np.ones((len(X), 2))},
        r"the model gives an array of shape \(10, 2\) for 10 vectors",
    ),
    "another head's weights": (
        {"linear": lambda c: c.linear._replace(b=c.linear.b + 1)},
        "the weights give .* where the model predicts .*; they are another model's",
    ),
    "another width": (
        {"linear": lambda c: Linear(np.ones(4), 0.0)},
        r"the weights have shape \(4,\), the vector \(11,\)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_together_is_named(name):
    changes, message = WRONG[name]
    with pytest.raises(StrataError, match=message):
        shares(**changed(**changes))


class Networks:
    """ALIGNN's deepest layers beside CHGNet's and, without rows, a composition: vectors and rows."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        settings = Extract(device="cpu", threads=1)
        self.engines = [(alignn_engine(), ["atom_8", "bond_8", "angle_4"])]
        if find_spec("chgnet") is not None:
            self.engines.append((make_engine("chgnet", settings), ["atom_4", "bond_3", "angle_3"]))
        if find_spec("matminer") is not None:
            self.engines.append((make_engine("magpie", settings), ["composition_0"]))
        widths = [
            checkpoint.width
            for engine, names in self.engines
            for name in names
            for checkpoint in engine.backbone.checkpoints
            if checkpoint.name == name
        ]
        stops = np.cumsum(widths).tolist()
        self.blocks = list(zip([0, *stops], stops, strict=False))

    def vectors(self, structures: list[Structure]) -> np.ndarray:
        found = [together(engine(structures).vectors, names) for engine, names in self.engines]
        return np.concatenate(found, axis=1)

    def rows(self, structure: Structure) -> list[Rows | None]:
        found: list[Rows | None] = []
        for engine, names in self.engines:
            offered = engine.rows(structure, names) if engine.backbone.offers_rows else {}
            found += [offered.get(name) for name in names]
        return found

    def explain(self, structure: Structure, head, reference: np.ndarray) -> Explanation:
        (vector,) = self.vectors([structure])
        return shares(
            head.predict, self.blocks, self.rows(structure), structure.numbers, vector, reference,
            linear=weights_of(head),
        )  # fmt: skip


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks()


@pytest.fixture(scope="module")
def training(networks) -> tuple[np.ndarray, np.ndarray]:
    X = networks.vectors([s for s in varied_structures()[:20] if s.n_atoms > 1])
    return X, X[:, ::40].sum(axis=1).astype(float)


SALT = Structure.from_ase(bulk("NaCl", "rocksalt", a=5.64, cubic=True))


@pytest.mark.parametrize("structure", [WATER, SALT, Structure.from_ase(bulk("Cu"))], ids=lambda s: s.formula)
def test_shares_of_a_ridge_on_real_networks_add_up(networks, training, structure):
    head = Ridge().fit(*training)
    found = networks.explain(structure, head, training[0].mean(axis=0))
    (value,) = head.predict(networks.vectors([structure]))
    assert found.method == EXACT
    assert found.value == pytest.approx(value, abs=1e-12)
    outside = sum(block.share for block in found.blocks if not block.on_atoms)
    scale = np.abs(found.atoms).sum() + np.abs(found.value)
    assert found.base + found.atoms.sum() + outside == pytest.approx(found.value, abs=1e-4 * scale)


@pytest.mark.parametrize("head", [Ridge(), SVR()], ids=["ridge", "svr"])
def test_equal_atoms_have_equal_shares_and_a_permutation_permutes_them(networks, training, head):
    fitted, reference = head.fit(*training), training[0].mean(axis=0)
    found = networks.explain(SALT, fitted, reference)
    scale = np.abs(found.atoms).max()
    sodium = SALT.numbers == 11
    for own in (sodium, ~sodium):
        np.testing.assert_allclose(found.atoms[own], found.atoms[own][0], atol=1e-3 * scale)
    assert abs(found.atoms[sodium][0] - found.atoms[~sodium][0]) > 1e-2 * scale
    cell = random_structure(np.random.default_rng(4), 5)
    order = np.random.default_rng(1).permutation(5)
    shuffled = Structure(cell.lattice, cell.numbers[order], cell.frac_coords[order])
    first, second = (networks.explain(s, fitted, reference) for s in (cell, shuffled))
    np.testing.assert_allclose(second.atoms, first.atoms[order], atol=1e-3 * np.abs(first.atoms).max())


def test_an_element_has_shares_though_its_atoms_are_all_alike(networks, training):
    """What its atoms have in common, not only what sets them apart, is what the reference has not."""
    aluminium = Structure.from_ase(bulk("Al", cubic=True))
    found = networks.explain(aluminium, SVR().fit(*training), training[0].mean(axis=0))
    assert found.method == APPROXIMATE
    assert np.abs(found.atoms).min() > 0.05 * abs(found.value - found.base)


def test_a_large_cell_is_explained_at_once(networks, training):
    atoms = bulk("Al", cubic=True) * (5, 5, 5)
    atoms.positions += np.random.default_rng(0).normal(0, 0.05, atoms.positions.shape)
    found = networks.explain(Structure.from_ase(atoms), Ridge().fit(*training), training[0].mean(axis=0))
    assert len(found.frame()) == 500
    assert found.elements()["atoms"].tolist() == [500]
