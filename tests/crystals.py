"""Structures for tests of the engine: known crystals, alloys, a molecule, and random cells."""

import numpy as np

from core.structure import Structure


def cif(name: str, edge: float, *sites: str) -> str:
    """Return the CIF of a cubic cell (Å) without symmetry; a site: label, symbol, coordinates, occupancy."""
    lengths = [f"_cell_length_{axis} {edge}" for axis in "abc"]
    angles = [f"_cell_angle_{angle} 90" for angle in ("alpha", "beta", "gamma")]
    columns = ["label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy"]
    loop = ["loop_", *(f"_atom_site_{column}" for column in columns)]
    group = "_symmetry_space_group_name_H-M 'P 1'"
    return "\n".join([f"data_{name}", *lengths, *angles, group, *loop, *sites, ""])


def varied_structures() -> list[Structure]:
    """36 structures: metals, salts, covalent and layered crystals, boxed molecules, random cells."""
    from ase.build import bulk, graphene, molecule, mx2

    crystals = [
        bulk("Al"), bulk("Fe"), bulk("Mg"), bulk("Si"), bulk("Cu", cubic=True), bulk("Po", "sc", a=3.35),
        bulk("NaCl", "rocksalt", a=5.64), bulk("NaCl", "rocksalt", a=5.64, cubic=True),
        bulk("CsCl", "cesiumchloride", a=4.12), bulk("ZnS", "zincblende", a=5.41),
        bulk("GaN", "wurtzite", a=3.19), bulk("CaF2", "fluorite", a=5.46),
        bulk("MgO", "rocksalt", a=4.21) * (2, 1, 1),
    ]  # fmt: skip
    found = [Structure.from_ase(atoms) for atoms in crystals]
    for layer in (graphene(vacuum=10), mx2("MoS2", vacuum=10)):
        layer.pbc = True
        found.append(Structure.from_ase(layer))
    found += [Structure.from_ase(molecule(name), vacuum=20.0) for name in ("H2O", "CH4", "C6H6", "N2")]
    perovskite = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    found.append(Structure(np.eye(3) * 3.9, [38, 22, 8, 8, 8], perovskite))
    found += [random_structure(np.random.default_rng(seed)) for seed in range(16)]
    return found


def random_structure(rng: np.random.Generator, atoms: int | None = None) -> Structure:
    """A cell without symmetry: random elements and sites at least 1 Å apart, 12 to 25 Å³ an atom."""
    n = atoms or int(rng.integers(1, 9))
    lattice = (np.eye(3) + rng.uniform(-0.25, 0.25, (3, 3))) * (n * rng.uniform(12, 25)) ** (1 / 3)
    sites: list[np.ndarray] = []
    while len(sites) < n:
        site = rng.random(3)
        apart = [np.linalg.norm(((site - other + 0.5) % 1 - 0.5) @ lattice) > 1.0 for other in sites]
        if all(apart):
            sites.append(site)
    return Structure(lattice, rng.choice([1, 8, 14, 26, 29, 56, 74, 83], n), np.array(sites))


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A proper rotation matrix, uniform."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))
