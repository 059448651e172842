import json
import zlib

import numpy as np

from core.composition import Composition
from core.structure import Structure
from evaluation.explorer.pack import PIECE, header, numbers, piece, pieces, texts
from evaluation.explorer.structure_map import Column, Crystals, StructureMap


def many(n: int) -> StructureMap:
    rng = np.random.default_rng(0)
    structures: list[Structure | Composition] = [
        Structure(np.eye(3) * (3 + i % 5), rng.integers(1, 90, 1 + i % 7), rng.random((1 + i % 7, 3)))
        for i in range(n)
    ]
    structures[1] = Composition([8, 1, 1])
    names = tuple(f"é{i}" for i in range(n))
    columns = (Column("a", rng.random(n)), Column("b", np.full(n, np.nan)))
    return StructureMap("t", names, names, names, Crystals.of(structures), columns, "a", "b", "a")


def test_crystals_are_unpacked_as_they_were():
    shown = many(PIECE + 9)
    assert len(list(pieces(shown))) == header(shown)["pieces"] == 2
    flat = zlib.decompress(piece(shown, 1))
    sizes = np.frombuffer(flat, "<u4", 9)
    cells = np.frombuffer(flat, "<f4", 81, 36).reshape(9, 9)
    n = int(sizes.sum())
    numbers_ = np.frombuffer(flat, "u1", n, 360)
    high, middle, low = np.frombuffer(flat, "u1", 9 * n, 360 + n).reshape(3, 3 * n).astype(int)
    coords = ((high << 16) + (middle << 8) + low).reshape(n, 3) / header(shown)["steps"]
    own = slice(shown.crystals.start[PIECE], None)
    np.testing.assert_array_equal(numbers_, shown.crystals.numbers[own])
    np.testing.assert_allclose(coords, shown.crystals.coords[own], atol=1e-7)
    np.testing.assert_allclose(cells, shown.crystals.lattice[PIECE:], rtol=1e-6)


def test_a_composition_has_no_atoms_to_draw_but_its_elements():
    shown = many(3)
    assert np.frombuffer(zlib.decompress(piece(shown, 0)), "<u4", 3).tolist()[1] == 0
    flat = zlib.decompress(numbers(shown))
    counts = np.frombuffer(flat, "u1", 3, 2 * 4 * 3)
    assert counts[1] == 2
    np.testing.assert_array_equal(np.frombuffer(flat, "<f4", 3), shown.columns[0].values.astype("f4"))


def test_texts_keep_every_letter():
    assert json.loads(zlib.decompress(texts(many(3))))["names"] == ["é0", "é1", "é2"]
