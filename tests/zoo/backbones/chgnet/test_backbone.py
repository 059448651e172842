"""CHGNet behind the contract of a backbone, and its light half without torch."""

import subprocess
import sys

import numpy as np
from ase.build import bulk

from core.structure import InvalidStructure, Structure
from tests.crystals import varied_structures
from zoo.backbones.check import check_backbone, examples
from zoo.backbones.registry import find, names
from zoo.hub import backbone_of, load_card

LIGHT = """
import sys

sys.modules |= {"torch": None, "chgnet": None, "pymatgen": None}  # importing any of them fails from here on
import numpy as np
from core.structure import Structure
from zoo.backbones.registry import find

graph = find("chgnet")().prepare(Structure(np.eye(3) * 3.0, [29], [[0, 0, 0]]))
print(len(graph.angle))
"""


def test_it_keeps_the_contract(engine):
    assert engine.backbone.invariances == {"rotation", "cell"}
    check_backbone(engine)


def test_it_keeps_the_contract_on_crystals_without_symmetry_and_without_angles(engine):
    structures = [s for s in varied_structures() if not isinstance(prepared(s), InvalidStructure)]
    check_backbone(engine, [*structures[-6:], Structure.from_ase(bulk("Ar", "fcc", a=5.3))])


def prepared(structure: Structure) -> object:
    try:
        return find("chgnet")().prepare(structure)
    except InvalidStructure as error:
        return error


def test_the_registry_and_the_card_agree_on_it():
    assert "chgnet" in names()
    backbone = backbone_of(load_card("chgnet"), {"chgnet": {"rows_per_batch": 123}})
    assert type(backbone) is find("chgnet")
    assert backbone.batch_cost == 123
    by_kind = {
        kind: [c.depth for c in backbone.checkpoints if c.kind == kind] for kind in ("atom", "bond", "angle")
    }
    assert by_kind == {"atom": [0, 1, 2, 3, 4], "bond": [0, 1, 2, 3], "angle": [0, 1, 2, 3]}


def test_the_light_half_works_where_neither_torch_nor_the_package_can_be_imported():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "30"


def test_a_batch_says_what_each_structure_alone_says_and_counts(engine):
    structures = examples()
    together = engine(structures)
    for k, structure in enumerate(structures):
        alone = engine([structure])
        np.testing.assert_allclose(alone.prediction[0], together.prediction[k], atol=2e-6)
        for name, vectors in together.vectors.items():
            np.testing.assert_allclose(alone.vectors[name][0], vectors[k], atol=2e-5, err_msg=name)
    graphs = engine.prepare(structures)
    assert together.counts["n_bonds"].tolist() == [len(g.length) for g in graphs]
    assert together.counts["n_short_bonds"].tolist() == [g.short for g in graphs]
    assert together.counts["n_angles"].tolist() == [len(g.angle) for g in graphs]
    assert [engine.backbone.cost(g) for g in graphs] == [2 * len(g.length) + len(g.angle) for g in graphs]


def test_rejects_leave_the_others_alone(engine):
    good = examples()[0]
    lone, heavy = Structure(np.eye(3) * 40, [2], [[0, 0, 0]]), Structure(np.eye(3) * 3.5, [100], [[0, 0, 0]])
    found = engine([lone, good, heavy])
    assert {k: error.code for k, error in found.errors.items()} == {0: "volume_per_atom", 2: "no_features"}
    assert np.isnan(found.vectors["atom_4"][[0, 2]]).all()
    np.testing.assert_array_equal(found.vectors["atom_4"][1], engine([good]).vectors["atom_4"][0])
