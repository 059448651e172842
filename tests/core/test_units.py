import pytest

from core.errors import StrataError
from core.units import check_unit
from etl.cards import CLASS_UNIT, list_cards

AS_GIVEN = (
    "eV", "eV/atom", "meV", "GPa", "kJ/mol", "C/m²", "Å", "Å³", "K", "µV/K", "1e20 cm^-3", "dimensionless",
    "log10(GPa)", "S/cm", "W/(m·K)", "kJ mol-1", "cm-1", "g/cm3", "meV/Å^2", "eV/f.u.", "wt%", "°C", "mAh/g",
    "emu/g", "MPa·m^0.5", "cm²/(V·s)", "HV", "Ha", "ppm", "10^-6/K",
)  # fmt: skip


@pytest.mark.parametrize("unit", AS_GIVEN)
def test_units_of_the_field_are_kept_as_they_are_given(unit):
    assert check_unit(unit) == unit


def test_every_unit_of_a_card_is_one():
    units = {item.unit for card in list_cards() for item in card.properties.values()} - {CLASS_UNIT}
    assert units
    assert {check_unit(unit) for unit in units} == units


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("electron volts", "eV"),
        ("Electron Volts", "eV"),
        ("electronvolts", "eV"),
        ("electron volts per atom", "eV/atom"),
        ("kilojoules per mole", "kJ/mol"),
        ("angstroms", "Å"),
        ("Kelvin", "K"),
        ("percent", "%"),
        ("μV/K", "µV/K"),  # the Greek letter becomes the micro sign
        ("  eV ", "eV"),
    ],
)
def test_words_become_symbols(given, kept):
    assert check_unit(given) == kept


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("ev", "did you mean 'eV'"),
        ("Gpa", "did you mean 'GPa'"),
        ("EV", "EV is another unit; did you mean 'eV'"),
        ("eV/k", "k is another unit; did you mean 'K'"),
        ("bananas", "is not understood"),
        ("", "is not understood"),
        ("1", "is not understood"),
        ("A^3", "A is the ampere"),
        ("W/mK", "mK is the millikelvin"),
        ("a.u.", "name the one that is meant"),
        ("log10(foo)", "'foo' is not understood"),
        ("9**9**9", "is not understood"),  # would be computed for hours
        ("((((9^99)^99)^99)^99)", "is not understood"),
        ("eV^-99999", "is not understood"),
        ('1 * __import__("os")', "is not understood"),
        ("eV\u202e", "is not understood"),
        ("eV" * 300, "is not understood"),
    ],
)
def test_what_is_no_unit_is_one_error(given, words):
    with pytest.raises(StrataError, match=words) as caught:
        check_unit(given, "unit of gap")
    assert str(caught.value).startswith("unit of gap")
    assert len(str(caught.value)) < 300
