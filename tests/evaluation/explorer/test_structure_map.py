import numpy as np
import pytest

from core.composition import Composition
from core.errors import StrataError
from core.structure import Structure
from evaluation.explorer.structure_map import Column, Crystals

SALT = Structure(np.eye(3) * 4, [11, 17], [[0, 0, 0], [0.5, 0.5, 0.25]])


def test_crystals_come_back_and_compositions_have_none():
    crystals = Crystals.of([SALT, Composition([8, 1, 1]), None, SALT])
    assert crystals.drawn.tolist() == [True, False, False, True]
    assert crystals.structure(3).structure_id == SALT.structure_id
    assert crystals.structure(1) is None
    assert sorted(crystals.numbers_of(1)) == [1, 1, 8]
    assert len(crystals.numbers_of(2)) == 0
    np.testing.assert_allclose(crystals.volumes(), [64, np.nan, np.nan, 64])


def test_a_title_has_the_unit_where_there_is_one():
    assert Column("gap", np.zeros(1), "eV").title == "gap (eV)"
    assert Column("n", np.zeros(1), "dimensionless").title == "n"


def test_an_unknown_column_is_named(mapped):
    with pytest.raises(StrataError, match="no column 'rank'"):
        mapped.column("rank")
