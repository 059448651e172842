import numpy as np
import pytest

from core.errors import StrataError
from core.params import Ingest
from core.validation import validate
from etl.cards import load_card
from etl.providers import ase_collections


def read(name, **limits):
    records = ase_collections.records(load_card(name), None, Ingest(**limits))
    return {record.entry_id: record for record in records}


def test_elements():
    found = read("ase_elements")
    assert len(found) == 71
    for record in found.values():
        validate(record.structure, Ingest())
        assert set(record.structure.symbols) == {record.entry_id}
    assert found["Al"].values["wien2k_B"] == pytest.approx(78.077)
    assert found["Al"].values["wien2k_volume"] == pytest.approx(16.4796)
    assert sum("exp_B" in record.values for record in found.values()) == 58


def test_the_structures_are_those_the_volumes_belong_to():
    found = read("ase_elements").values()
    ratio = [r.structure.volume / r.structure.n_atoms / r.values["wien2k_volume"] for r in found]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.02)


def test_molecules_without_the_single_atoms():
    found = read("ase_g2")
    assert len(found) == 148
    assert min(record.structure.n_atoms for record in found.values()) == 2
    assert found["H2O"].values["enthalpy"] == -57.8
    known = [record for record in found.values() if record.values.get("ionization energy") is not None]
    assert len(known) == 54


def test_molecules_stand_in_a_box_of_the_declared_vacuum():
    water = read("ase_g2", vacuum=7.5)["H2O"].structure
    validate(water, Ingest())
    assert water.positions.min() >= 7.5 - 1e-9
    assert water.lattice[0, 0] - water.positions.max() >= 7.5 - 1e-9
    assert water.lattice[0, 0] == pytest.approx(15 + 2 * 0.763239)


def test_unknown_collection():
    card = load_card("ase_g2").model_copy(update={"collection": "g3"})
    with pytest.raises(StrataError, match="did you mean 'g2'"):
        list(ase_collections.records(card, None, Ingest()))
