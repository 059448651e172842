import itertools

import numpy as np
import pytest

from core.params import Ingest
from core.validation import closest_pair, validate
from etl.cards import load_card
from etl.providers import emt

CARD = load_card("emt_alloys")


def first(count):
    return list(itertools.islice(emt.records(CARD, None, Ingest()), count))


@pytest.fixture(scope="module")
def everything():
    return list(emt.records(CARD, None, Ingest()))


@pytest.mark.slow
def test_there_are_as_many_cells_as_the_card_says_each_another_one(everything):
    assert len(everything) == CARD.expected_rows >= 600
    assert len({record.entry_id for record in everything}) == len(everything)
    assert len({record.structure.structure_id for record in everything}) == len(everything)


@pytest.mark.slow
def test_every_cell_is_a_sensible_metal(everything):
    for record in everything:
        validate(record.structure, Ingest())
        distance, _, _ = closest_pair(record.structure, 5.0)
        assert 2.1 < distance < 3.2, record.entry_id
        assert -0.3 < record.values["formation_energy"] < 1.5, record.entry_id
        assert 9 < record.values["volume"] < 32, record.entry_id
        assert 5 < record.values["bulk_modulus"] < 420, record.entry_id


@pytest.mark.slow
def test_ids_can_be_read(everything):
    ids = {record.entry_id: record.structure for record in everything}
    assert ids["emt-L12-AlNi3-02"].formula == "AlNi3"
    assert ids["emt-L12-Al3Ni-01"].formula == "Al3Ni"
    assert ids["emt-D019-AlNi3-01"].formula == "Al2Ni6"
    assert ids["emt-B2-AgAl-01"].n_atoms == 2


def test_it_is_the_same_every_time():
    for one, other in zip(first(30), first(30), strict=True):
        assert one.entry_id == other.entry_id
        assert np.array_equal(one.structure.frac_coords, other.structure.frac_coords)
        assert one.values == other.values


@pytest.mark.parametrize(("symbol", "volume"), [("Cu", 11.6), ("Al", 15.9), ("Au", 16.8)])
def test_reference_is_the_relaxed_fcc_element(symbol, volume):
    energy, relaxed = emt._fcc(symbol)
    assert relaxed == pytest.approx(volume, abs=0.4)
    cell = emt.Structure(emt._FCC, [emt.NUMBERS[symbol]], [[0, 0, 0]])
    for factor in (0.98, 1.02):
        assert emt._energy(emt._scaled(cell, factor * relaxed / cell.volume)) > energy


@pytest.mark.slow
def test_values_follow_from_the_structure_by_ase(everything):
    from ase.calculators.emt import EMT
    from ase.eos import EquationOfState

    record = next(record for record in everything if record.entry_id == "emt-L10-CuPt-01")
    atoms = record.structure.to_ase()
    volumes, energies = [], []
    for factor in np.linspace(0.97, 1.03, 13):
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell * factor ** (1 / 3), scale_atoms=True)
        scaled.calc = EMT()
        volumes.append(scaled.get_volume())
        energies.append(scaled.get_potential_energy())
    fit = np.polynomial.Polynomial.fit(volumes, energies, 5)
    modulus = atoms.get_volume() * fit.deriv(2)(atoms.get_volume()) * 160.21766
    assert record.values["bulk_modulus"] == pytest.approx(modulus, rel=5e-3)
    assert record.values["volume"] == pytest.approx(atoms.get_volume() / 2, abs=1e-5)
    minimum = EquationOfState(volumes, energies).fit()[1]
    expected = (minimum - emt._fcc("Cu")[0] - emt._fcc("Pt")[0]) / 2
    assert record.values["formation_energy"] >= expected - 1e-6
    assert record.values["formation_energy"] == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("prototype", emt.PROTOTYPES, ids=lambda prototype: prototype.name)
def test_prototypes_are_what_they_are_called(prototype):
    spglib = pytest.importorskip("spglib")
    names = [item.name for item in emt.PROTOTYPES]
    groups = [225, 229, 221, 194, 225, 221, 216, 227, 123, 166, 139, 221, 139, 225, 194]
    group = dict(zip(names, groups, strict=True))[prototype.name]
    kinds = [13 if kind == "A" else 28 for kind in prototype.species]
    found = spglib.get_spacegroup((prototype.cell, prototype.sites, kinds))
    assert found.endswith(f"({group})")
    assert len(prototype.species) == len(prototype.sites)
