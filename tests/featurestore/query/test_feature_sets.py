import pytest

from core.errors import StrataError
from featurestore.query.feature_sets import FEATURE_SETS, checkpoints_of, width_of
from featurestore.tables.schema import CHECKPOINTS


def test_there_are_38_in_the_papers_order():
    names = list(FEATURE_SETS)
    assert len(names) == 38
    assert names[:23] == [f"{k}_{d}" for k, n in (("atom", 9), ("bond", 9), ("angle", 5)) for d in range(n)]
    assert names[23:32] == [f"atom_bond_{d}" for d in range(9)]
    assert names[32:37] == [f"atom_bond_angle_{d}" for d in range(5)]
    assert names[37] == "atom_bond_angle_last"


def test_they_are_made_of_the_23_checkpoints():
    known = {checkpoint.name for checkpoint in CHECKPOINTS}
    assert {name for columns in FEATURE_SETS.values() for name in columns} == known
    assert FEATURE_SETS["atom_bond_angle_3"] == ("atom_3", "bond_3", "angle_3")


@pytest.mark.parametrize(
    ("name", "width"), [("angle_4", 256), ("atom_bond_8", 512), ("atom_bond_angle_last", 768)]
)
def test_widths(name, width):
    assert width_of(name) == width


def test_an_unknown_set_names_the_nearest():
    with pytest.raises(StrataError, match="did you mean 'atom_bond_angle_last'"):
        checkpoints_of("atom_bond_angle_lst")
