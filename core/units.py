"""Units of properties: whether a text means one, and how it is written.

Values are never converted. The text that a user gives stands beside every number of the project, so that one
which nobody understands, or which means something else, is refused before it is kept.
"""

import difflib
import re
from functools import cache
from typing import Any

from core.errors import StrataError
from core.lazy import need

PURE_NUMBER = "dimensionless"
_LONGEST = 80
_COUNTS = (
    "atom",
    "formula_unit",
    "unit_cell",
    "cell",
    "molecule",
    "ion",
    "site",
    "electron",
    "state",
)  # eV/atom
_DEFINED = ("emu = 1e-3 * ampere * meter ** 2", "vickers = [] = HV")
_COMMON = (
    "eV", "meV", "eV/atom", "meV/atom", "GPa", "MPa", "kJ/mol", "kcal/mol", "J/(mol·K)", "K", "°C", "Å", "Å³",
    "nm", "S/cm", "µV/K", "W/(m·K)", "g/cm³", "C/m²", "µB", "Hartree", "cm²/(V·s)", "1/cm", "THz",
    "%", PURE_NUMBER,
)  # fmt: skip
_OTHERWISE = {  # how pint calls what this field writes in its own way
    "µB": "bohr_magneton",
    "mₑ": "electron_mass",
    "f.u.": "formula_unit",
    "wt.%": "percent",
    "wt%": "percent",
    "at.%": "percent",
    "at%": "percent",
    "mol%": "percent",
    "Ha": "hartree",
    "Vs": "(V*s)",
}
_KEPT = ("hartree", "bohr", "debye", *_COUNTS)  # names that are clearer than their symbols
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_LOGARITHM = re.compile(r"(log10|log|ln)\((.+)\)")
_WORD = re.compile(r"[A-Za-zµÅΩ°%_]+")
_PLAIN = re.compile(r"[\w\s.*/^()+\-µÅΩ°%]+")
_POWER = re.compile(r"(?<![\w.])([A-Za-zµÅΩ_]+)(-?\d+)")  # cm-1, cm3
_LARGE = re.compile(r"\^\s*[-+]?\(?\s*[-+]?(\d{3,}|\d*\.\d?[^05\D])|\d{10,}|\^[^*/ ]*\^")


def check_unit(text: str, where: str = "unit") -> str:
    """Return a unit as it is written beside values: symbols in place of words, all else as it was given.

    A logarithm of a unit is `log10(…)`, a pure number `dimensionless`; atoms, formula units, molecules and
    cells may be counted. where: what is named in an error.

    Raises `StrataError` for what is no unit, with the nearest one, and for a text that pint reads as another
    unit than this field means by it.

    >>> check_unit("electron volts"), check_unit("gigapascals"), check_unit("µW/(m·K²)")
    ('eV', 'GPa', 'µW/(m·K²)')
    >>> check_unit("ev")
    Traceback (most recent call last):
    core.errors.StrataError: unit 'ev' is not understood; did you mean 'eV'? A pure number is dimensionless
    """
    given = " ".join(text.replace("μ", "µ").replace("Å", "Å").split())
    if found := _LOGARITHM.fullmatch(given):
        return f"{found[1]}({check_unit(found[2], where)})"
    if given == PURE_NUMBER:
        return given
    if given.lower() in ("a.u.", "au", "arb. units", "arb. u.", "arbitrary units"):
        raise StrataError(
            f"{where} {text!r}: of atomic units name the one that is meant (Hartree, bohr); arbitrary units "
            f"are {PURE_NUMBER}"
        )
    written = _joined(given)
    asked = _as_pint_reads(written)
    if len(given) > _LONGEST or not _PLAIN.fullmatch(asked) or _LARGE.search(asked) or asked.count(")^") > 1:
        raise _no_unit(text, where)
    _refuse_mistaken(asked, text, where)
    try:
        numbers_alone = str(_registry().parse_expression(asked).units) == PURE_NUMBER
    except Exception:  # noqa: BLE001  # pint raises whatever a text makes its reader raise
        raise _no_unit(text, where) from None
    if numbers_alone:
        raise _no_unit(text, where)
    return re.sub(r" per ", "/", _WORD.sub(lambda word: _symbol(word[0]), written))


@cache
def _registry() -> Any:
    registry = need("pint", "data").UnitRegistry(cache_folder=None)
    for name in _COUNTS:
        registry.define(f"{name} = []")
    for definition in _DEFINED:
        registry.define(definition)
    return registry


def _joined(text: str) -> str:
    """Write names of two words as pint does: electron_volts."""
    return re.sub(
        r"([A-Za-z]{3,})[ -]([A-Za-z]{4,})",
        lambda pair: name if _known(name := f"{pair[1]}_{pair[2]}".lower()) else pair[0],
        text,
    )


def _as_pint_reads(text: str) -> str:
    for ours, theirs in _OTHERWISE.items():
        text = re.sub(rf"(?<![\w.]){re.escape(ours)}(?!\w)", theirs, text)
    text = re.sub(r"([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda raised: f"^{raised[1].translate(_RAISED)}", text)
    text = text.replace("·", "*").replace("×", "*").replace("−", "-").replace("**", "^")
    text = _POWER.sub(r"\1^\2", text)
    return _WORD.sub(lambda word: word[0] if _known(word[0]) else _uncapitalised(word[0]), text)


def _uncapitalised(word: str) -> str:
    """Names are often written with a capital: Kelvin, Angstrom."""
    return word.lower() if len(word) > 3 and _known(word.lower()) else word


def _known(word: str) -> bool:
    return bool(_registry().parse_unit_name(word))


def _symbol(word: str) -> str:
    """Return the symbol of a unit that is written out, in singular or plural; anything else as it is."""
    found = _registry().parse_unit_name(_uncapitalised(word) if not _known(word) else word)
    if not found:
        return word
    prefix, name, _ = found[0]
    bare = f"{prefix}{name}".replace("_", "")
    spelled = word.lower().replace("_", "") in (bare, f"{bare}s")
    if not spelled or name in _KEPT:
        return word
    symbol: str = _registry().get_symbol(prefix + name)
    return symbol


def _refuse_mistaken(asked: str, text: str, where: str) -> None:
    if re.search(r"(?<!\w)A\^", asked):
        raise StrataError(f"{where} {text!r}: A is the ampere; for ångström write Å or angstrom")
    for letters, meant in (("EV", "eV"), ("k", "K")):  # the exavolt, and Boltzmann's constant
        if re.search(rf"(?<!\w){letters}(?!\w)", asked):
            raise StrataError(f"{where} {text!r}: {letters} is another unit; did you mean {meant!r}?")
    if re.search(r"/\s*mK(?!\w)", asked):
        raise StrataError(f"{where} {text!r}: mK is the millikelvin; for metre and kelvin write (m·K)")


def _no_unit(text: str, where: str) -> StrataError:
    shown = text[:60]
    near = {unit.casefold(): unit for unit in _COMMON}
    found = difflib.get_close_matches(shown.casefold(), near, n=1, cutoff=0.5)
    hint = f"did you mean {near[found[0]]!r}?" if found else f"units are such as {', '.join(_COMMON[:6])}."
    return StrataError(f"{where} {shown!r} is not understood; {hint} A pure number is {PURE_NUMBER}")
