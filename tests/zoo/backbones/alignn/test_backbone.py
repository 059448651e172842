"""ALIGNN's light half: what it prepares, what it claims, and what names its vectors."""

import subprocess
import sys

import numpy as np
import pytest
from ase.build import bulk

from core.errors import StrataError
from core.structure import InvalidStructure, Structure
from tests.crystals import random_structure
from tests.engines import CHECKPOINTS, alignn_engine
from zoo.backbones.alignn.backbone import ALIGNN, prepare
from zoo.backbones.alignn.graph import INVARIANT, PUBLISHED
from zoo.backbones.check import check_backbone

SILICON = Structure.from_ase(bulk("Si"))
DISORDERED = random_structure(np.random.default_rng(5), 3)


def test_it_keeps_the_contract():
    check_backbone(alignn_engine())


def test_it_keeps_the_contract_under_the_published_rules():
    """They claim no invariance: rounding decides which of a shell's bonds are kept."""
    check_backbone(alignn_engine(PUBLISHED))


def test_it_offers_the_checkpoints_of_its_architecture():
    assert ALIGNN().checkpoints == CHECKPOINTS


def test_invariances_follow_from_the_graph():
    once_only = INVARIANT.model_copy(update={"self_image": "alignn"})
    rules = (INVARIANT, once_only, PUBLISHED)
    claimed = [ALIGNN(graph=rule).invariances for rule in rules]
    assert claimed == [{"rotation", "cell"}, {"rotation"}, set()]


def test_prepared_counts_are_those_of_the_graph():
    p = ALIGNN(graph=INVARIANT).prepare(SILICON)
    assert (p.n_bonds, p.n_angles) == (2 * 16, 2 * 16 * 16)
    assert p.n_bonds == len(p.graph.src)
    assert p.quotient.atom_size.sum() == SILICON.n_atoms
    assert p.quotient.bond_size.sum() == p.n_bonds
    assert p.quotient.angle_size.sum() == p.n_angles


def test_compression_is_a_setting_and_the_cost_is_what_is_run():
    with_it, without = (ALIGNN(graph=INVARIANT, settings={"compression": c}) for c in (True, False))
    assert without.cost(without.prepare(SILICON)) == 2 * 16 * 16
    assert with_it.cost(with_it.prepare(SILICON)) < 2 * 16 * 16
    assert (
        with_it.describe(with_it.prepare(SILICON))
        == without.describe(without.prepare(SILICON))
        == "512 angles"
    )


def test_the_limit_of_angles_is_the_last_that_passes():
    n = prepare(DISORDERED, INVARIANT).n_angles
    assert prepare(DISORDERED, INVARIANT, max_angles=n).n_angles == n
    with pytest.raises(
        InvalidStructure, match=rf"3 atoms make .* {n:,} angles, allowed are {n - 1:,}"
    ) as caught:
        prepare(DISORDERED, INVARIANT, max_angles=n - 1)
    assert caught.value.code == "too_large"
    assert "extract.backbones.alignn.max_angles" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_angels": 5}, r"params.yaml, extract.backbones.alignn; did you mean 'max_angles'"),
        ({"backend": "jax"}, r"extract.backbones.alignn, backend"),
        ({"angles_per_batch": 0}, r"extract.backbones.alignn, angles_per_batch"),
    ],
)
def test_settings_that_do_not_exist_are_refused(settings, message):
    with pytest.raises(StrataError, match=message):
        ALIGNN(settings=settings)


def test_the_size_of_a_batch_is_a_setting():
    assert ALIGNN(settings={"angles_per_batch": 5}).batch_cost == 5


def test_settings_are_not_in_the_key_but_weights_graph_and_tf32_are():
    plain = ALIGNN().key("a" * 64, "float32")
    assert plain == ALIGNN(settings={"compression": False, "backend": "dgl"}).key("a" * 64, "float32")
    others = [
        ALIGNN().key("b" * 64, "float32"),
        ALIGNN().key("a" * 64, "tf32"),
        ALIGNN(graph=INVARIANT.model_copy(update={"cutoff": 6.0})).key("a" * 64, "float32"),
    ]
    assert all(other != plain for other in others)


def test_the_key_is_that_of_older_stores():
    """Nothing may be added to it: vectors that are kept would not be found again."""
    assert set(ALIGNN().key("a" * 64, "float32")) == {
        "weights_sha256",
        "graph",
        "pooling",
        "tf32",
        "code_schema",
    }


def test_elements_with_one_feature_row_are_told():
    assert ALIGNN().collisions([57, 58, 8]) == [(57, 58)]


def test_preparing_works_where_torch_is_not():
    code = (
        "import sys; sys.modules['torch'] = None; "  # whoever imports it is told that it is not there
        "import numpy as np; from core.structure import Structure; "
        "from zoo.backbones.registry import find; "
        "print(find('alignn')().prepare(Structure(np.eye(3) * 4.05, [13], [[0, 0, 0]])).n_bonds)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "18"
