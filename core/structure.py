"""`Structure`: lattice, atomic numbers and fractional coordinates, as the provider wrote them.

Conversions from and to the libraries of the field, the canonical `structure_id`, and the box of a
molecule. What makes a structure fit for extraction is decided in `core.validation`; files of a user are
read in `core.structure_files`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import StrataError

RejectCode = Literal[
    "empty",
    "not_finite",
    "zero_volume",
    "volume_per_atom",
    "min_dist",
    "no_features",
    "disordered",
    "no_cell",
    "too_large",
    "unreadable",
    "no_structure",
    "duplicate_conflict",
]
REJECT_CODES: tuple[str, ...] = get_args(RejectCode)

_PERIODIC_TABLE = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr "
    "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu "
    "Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr "
    "Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
)
SYMBOLS: tuple[str, ...] = tuple(_PERIODIC_TABLE.split())
"""Element symbols by atomic number; index 0 stands for "no element"."""
NUMBERS: dict[str, int] = {symbol: number for number, symbol in enumerate(SYMBOLS) if number}

_GRID = 100_000  # structure_id sees lattice (Å) and fractional coordinates in steps of 1e-5
_FLAT = 1e-9  # |det| relative to the product of the vectors' lengths: below it three vectors lie in a plane


class InvalidStructure(StrataError):  # noqa: N818  # named as it stands in the rejects
    """A structure that cannot be used; `code` is one of `REJECT_CODES` and goes to the rejects."""

    def __init__(self, code: RejectCode, message: str) -> None:
        super().__init__(message)
        self.code: RejectCode = code

    def __reduce__(self) -> tuple[type["InvalidStructure"], tuple[RejectCode, str]]:
        return type(self), (self.code, str(self))  # survives the way back from a worker process


@dataclass(frozen=True, eq=False, slots=True)
class Structure:
    """A periodic arrangement of atoms. The arrays are private read-only copies.

    lattice: (3, 3) float64, Å, one lattice vector a row, of either handedness.
    numbers: (n,) uint8, atomic numbers.
    frac_coords: (n, 3) float64, in the provider's order, not wrapped into the cell.

    Raises `InvalidStructure` (`unreadable`) where the shapes do not fit.

    >>> nacl = Structure(5.64 * np.eye(3), [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> nacl.formula, nacl.n_atoms, round(nacl.volume, 1)
    ('ClNa', 2, 179.4)
    """

    lattice: NDArray[np.float64]
    numbers: NDArray[np.uint8]
    frac_coords: NDArray[np.float64]

    def __init__(self, lattice: ArrayLike, numbers: ArrayLike, frac_coords: ArrayLike) -> None:
        count = np.size(numbers)
        for name, value, dtype, shape in (
            ("lattice", lattice, np.float64, (3, 3)),
            ("numbers", numbers, np.uint8, (count,)),
            ("frac_coords", frac_coords, np.float64, (count, 3)),
        ):
            try:
                array = np.array(value, dtype=dtype)
            except (TypeError, ValueError, OverflowError) as error:
                raise InvalidStructure("unreadable", f"{name}: {error}") from None
            if array.size == 0 and count == 0:
                array = array.reshape(shape if 0 in shape else (0,))
            if array.shape != shape:
                raise InvalidStructure("unreadable", f"{name}: shape {array.shape}, expected {shape}")
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def n_atoms(self) -> int:
        """Atoms in the cell."""
        return len(self.numbers)

    @property
    def volume(self) -> float:
        """Volume of the cell in Å³, positive for either handedness."""
        return cell_volume(self.lattice)

    @property
    def positions(self) -> NDArray[np.float64]:
        """Cartesian coordinates, (n, 3), Å."""
        return self.frac_coords @ self.lattice

    @property
    def symbols(self) -> list[str]:
        """Element symbol of every atom."""
        return [_symbol(number) for number in self.numbers]

    @property
    def formula(self) -> str:
        """Full (not reduced) formula of the cell in Hill order: C, H, then alphabetical.

        >>> Structure(np.eye(3), [1, 6, 1, 1, 1], np.zeros((5, 3))).formula
        'CH4'
        """
        return hill_formula(self.numbers)

    @property
    def structure_id(self) -> str:
        """SHA-256 (64 hexadecimal digits) of the canonical content.

        Over the lattice and the rows (atomic number, wrapped fractional coordinates), rounded to 1e-5,
        the rows sorted: the order of the atoms, whole lattice translations of an atom and the sign of
        a zero do not matter. Rotations and other settings of the same crystal do.

        >>> a = Structure(np.eye(3), [1, 2], [[0, 0, 0], [0.5, 0.5, 0.5]])
        >>> b = Structure(np.eye(3), [2, 1], [[-0.5, 0.5, 1.5], [0.9999999, -0.0, 0]])
        >>> a.structure_id == b.structure_id
        True
        """
        cell = np.rint(self.lattice * _GRID).astype("<i8")
        # Rounding before wrapping: 0.999999 becomes a whole lattice vector, and that is 0.
        coords = np.rint((self.frac_coords - np.floor(self.frac_coords)) * _GRID).astype("<i8") % _GRID
        rows = np.column_stack([self.numbers.astype("<i8"), coords])
        rows = rows[np.lexsort(rows.T[::-1])]
        return hashlib.sha256(cell.tobytes() + np.ascontiguousarray(rows).tobytes()).hexdigest()

    @classmethod
    def from_jarvis(cls, record: Mapping[str, Any], aliases: Mapping[str, str] | None = None) -> "Structure":
        """Read a jarvis-tools `Atoms` dictionary (`lattice_mat`, `coords`, `elements`, `cartesian`).

        `aliases` are declared replacements of symbols, such as {"D": "H"}.
        Raises `InvalidStructure`: `no_features` for an unknown symbol, `unreadable` for a missing key,
        `zero_volume` where Cartesian coordinates meet a flat cell.
        """
        try:
            lattice, coords, symbols = record["lattice_mat"], record["coords"], record["elements"]
        except (KeyError, TypeError) as error:
            raise InvalidStructure("unreadable", f"not a jarvis atoms record: no {error}") from None
        numbers = numbers_of(symbols, aliases)
        if record.get("cartesian", False):
            return _from_positions(lattice, numbers, coords)
        return cls(lattice, numbers, coords)

    @classmethod
    def from_pymatgen(cls, record: Any, aliases: Mapping[str, str] | None = None) -> "Structure":
        """Read a pymatgen `Structure`, or the dictionary that its `as_dict` gives.

        Oxidation states are dropped. Raises `InvalidStructure`: `disordered` where a site holds several
        species or less than one atom, `no_cell` for a molecule, `no_features`, `unreadable`.
        """
        if not isinstance(record, Mapping):
            if not hasattr(record, "lattice"):
                raise InvalidStructure("no_cell", "a pymatgen molecule, without a lattice")
            species = [[(one.symbol, amount) for one, amount in site.species.items()] for site in record]
            symbols = _one_each(species)
            return cls(record.lattice.matrix, numbers_of(symbols, aliases), record.frac_coords)
        if "lattice" not in record and "sites" in record:
            raise InvalidStructure("no_cell", "a pymatgen molecule, without a lattice")
        try:
            lattice = record["lattice"]["matrix"]
            sites = record["sites"]
            symbols = _one_each([[(s["element"], s["occu"]) for s in site["species"]] for site in sites])
            coords = [site["abc"] for site in sites]
        except (KeyError, TypeError, IndexError) as error:
            raise InvalidStructure("unreadable", f"not a pymatgen structure: {error!r}") from None
        return cls(lattice, numbers_of(symbols, aliases), coords)

    @classmethod
    def from_ase(cls, atoms: Any, vacuum: float | None = None) -> "Structure":
        """Read an `ase.Atoms`. Without a cell it is boxed with `vacuum` Å on every side.

        Raises `InvalidStructure`: `no_cell` where there is no cell and no `vacuum`, or where only one or
        two lattice vectors are given.
        """
        cell = np.asarray(atoms.cell.array)
        given = int(np.any(cell != 0, axis=1).sum())
        if given == 0 and vacuum is not None:
            return box_molecule(atoms.numbers, atoms.positions, vacuum)
        if given < 3:
            raise InvalidStructure("no_cell", f"{given} of 3 lattice vectors given, and no box is declared")
        return _from_positions(cell, atoms.numbers, atoms.positions)

    def to_ase(self) -> Any:
        """Give an `ase.Atoms` with periodic boundaries; the atoms keep their order."""
        from ase import Atoms

        return Atoms(numbers=self.numbers, cell=self.lattice, scaled_positions=self.frac_coords, pbc=True)

    def to_pymatgen(self) -> Any:
        """Give a `pymatgen.core.Structure`; sites in the same order, coordinates not wrapped."""
        from pymatgen.core import Structure as PymatgenStructure

        return PymatgenStructure(self.lattice, self.symbols, self.frac_coords)

    def to_jarvis_dict(self) -> dict[str, Any]:
        """Give the dictionary that jarvis-tools' `Atoms.from_dict` reads."""
        lengths = np.linalg.norm(self.lattice, axis=1)
        a, b, c = self.lattice / lengths[:, None]
        cosines = np.clip([b @ c, a @ c, a @ b], -1.0, 1.0)
        return {
            "lattice_mat": self.lattice.tolist(),
            "coords": self.frac_coords.tolist(),
            "elements": self.symbols,
            "abc": lengths.tolist(),
            "angles": np.degrees(np.arccos(cosines)).tolist(),
            "cartesian": False,
            "props": [""] * self.n_atoms,
        }


def _one_each(sites: Iterable[Sequence[tuple[str, float]]]) -> list[str]:
    """Return the symbol of each site; raises `InvalidStructure` where one is not one whole atom."""
    symbols = []
    for index, species in enumerate(sites):
        if len(species) != 1 or species[0][1] != 1:
            shown = ", ".join(f"{symbol} {amount:g}" for symbol, amount in species)
            raise InvalidStructure("disordered", f"site {index} is occupied by {shown or 'nothing'}")
        symbols.append(species[0][0])
    return symbols


def hill_formula(numbers: NDArray[np.uint8]) -> str:
    """Formula of atoms in Hill order: C, H, then alphabetical.

    >>> hill_formula(np.array([8, 1, 6, 8], np.uint8))
    'CHO2'
    """
    counts = np.bincount(numbers)
    found = np.flatnonzero(counts)
    return _hill(found, counts[found])


def reduced_formula(numbers: ArrayLike) -> str:
    """Formula of the fewest atoms in the same ratio, in Hill order.

    >>> reduced_formula([11, 17, 11, 17])
    'ClNa'
    """
    counts = np.bincount(np.asarray(numbers, np.uint8))
    found = np.flatnonzero(counts)
    return _hill(found, counts[found] // np.gcd.reduce(counts))


def _hill(found: NDArray[np.int64], counts: NDArray[np.int64]) -> str:
    amounts = {_symbol(number): count for number, count in zip(found.tolist(), counts.tolist(), strict=True)}
    rank = {"C": 0, "H": 1} if "C" in amounts else {}
    order = sorted(amounts, key=lambda symbol: (rank.get(symbol, 2), symbol))
    return "".join(symbol if amounts[symbol] == 1 else f"{symbol}{amounts[symbol]}" for symbol in order)


def _symbol(number: int) -> str:
    return SYMBOLS[number] if number < len(SYMBOLS) else f"Z{number}"


def cell_volume(lattice: NDArray[np.float64]) -> float:
    """Volume of a cell in Å³; exactly 0.0 where its vectors lie in a plane, to rounding.

    >>> cell_volume(np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 1e-12]]))
    0.0
    """
    with np.errstate(over="ignore", invalid="ignore"):
        volume = abs(float(lattice[0] @ np.cross(lattice[1], lattice[2])))
        scale = float(np.prod(np.sqrt((lattice * lattice).sum(axis=1))))
    return 0.0 if volume <= _FLAT * scale else volume


def numbers_of(symbols: Iterable[str], aliases: Mapping[str, str] | None = None) -> list[int]:
    """Atomic numbers of element symbols; unknown ones raise `InvalidStructure` (`no_features`).

    >>> numbers_of(["Na", "D"], aliases={"D": "H"})
    [11, 1]
    """
    aliases = aliases or {}
    numbers = []
    for symbol in symbols:
        number = NUMBERS.get(aliases.get(symbol, symbol))
        if number is None:
            raise InvalidStructure("no_features", f"{symbol!r} is no element with atom features")
        numbers.append(number)
    return numbers


def box_molecule(numbers: ArrayLike, positions: ArrayLike, vacuum: float) -> Structure:
    """Put a molecule in the middle of a cubic box with at least `vacuum` Å on every side.

    positions: (n, 3), Å. The edge is the molecule's largest extent plus twice the vacuum.

    >>> h2 = box_molecule([1, 1], [[0, 0, 0], [0, 0, 0.74]], vacuum=20.0)
    >>> float(h2.lattice[0, 0]), h2.positions.mean(axis=0).round(2).tolist()
    (40.74, [20.37, 20.37, 20.37])
    """
    points = np.asarray(positions, dtype=np.float64).reshape(-1, 3)
    if len(points) == 0:
        raise InvalidStructure("empty", "a molecule of 0 atoms")
    if not np.isfinite(points).all():
        raise InvalidStructure("not_finite", "a position is NaN or infinite")
    low, high = points.min(axis=0), points.max(axis=0)
    edge = float((high - low).max()) + 2 * vacuum
    return Structure(edge * np.eye(3), numbers, (points - (low + high) / 2) / edge + 0.5)


def _from_positions(lattice: ArrayLike, numbers: ArrayLike, positions: ArrayLike) -> Structure:
    cell = np.asarray(lattice, dtype=np.float64)
    if not np.isfinite(cell).all():
        raise InvalidStructure("not_finite", "the lattice holds NaN or infinity")
    if cell.shape != (3, 3) or cell_volume(cell) == 0.0:
        raise InvalidStructure("zero_volume", f"the lattice {cell.tolist()} has no volume")
    points = np.asarray(positions, dtype=np.float64).reshape(-1, 3)
    return Structure(cell, numbers, np.linalg.solve(cell.T, points.T).T)
