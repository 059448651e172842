"""Composition features: matminer's values, behind the contract of a backbone, without torch."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

from core.composition import Composition
from core.errors import StrataError
from core.params import Extract
from core.structure import SYMBOLS, InvalidStructure, Structure
from zoo.backbones import magpie
from zoo.backbones.check import check_backbone, examples
from zoo.backbones.engine import Engine
from zoo.extraction import environment, extraction_id, provenance, run_tasks
from zoo.hub import backbone_of, load_card, load_source

WITHOUT_TORCH = """
import sys


class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}")


sys.meta_path.insert(0, NoTorch())
from core.params import Extract
from zoo.backbones.check import examples
from zoo.extraction import make_engine, provenance
from zoo.hub import load_card

found = make_engine("magpie", Extract(threads=1, precision="tf32"))(examples())
pooling = provenance(load_card("magpie"), Extract())["pooling"]
print(found.vectors["composition_0"].shape, len(found.errors), pooling)
"""


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(backbone_of(load_card("magpie")), load_source("magpie").state, Extract(threads=1))


def of(*numbers: int) -> np.ndarray:
    return magpie.featurize(np.array(numbers, np.uint8))


def named(*numbers: int) -> dict[str, float]:
    return dict(zip(magpie.COLUMNS, of(*numbers).tolist(), strict=True))


def compositions(count: int) -> list[np.ndarray]:
    """Made-up compositions of one to six elements up to fermium, every element in one of them at least."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(count):
        others = rng.choice(np.arange(1, 101), rng.integers(0, 6), replace=False)
        chosen = np.unique([1 + i % 100, *others])
        found.append(np.repeat(chosen, rng.integers(1, 7, len(chosen))).astype(np.uint8))
    return found


def test_it_keeps_the_contract(engine):
    assert engine.backbone.invariances == {"rotation", "cell"}
    check_backbone(engine)


def test_names_and_values_are_matminers():
    from matminer.featurizers.base import MultipleFeaturizer
    from matminer.featurizers.composition import ElementProperty, IonProperty, Stoichiometry, ValenceOrbital
    from pymatgen.core import Composition as PymatgenComposition

    featurizer = MultipleFeaturizer(
        [
            Stoichiometry(),
            ElementProperty.from_preset("magpie"),
            ValenceOrbital(props=["avg"]),
            IonProperty(fast=True),
        ]
    )
    assert tuple(featurizer.feature_labels()) == magpie.COLUMNS
    assert len(magpie.COLUMNS) == 145
    given = compositions(200)
    ours = np.array([magpie.featurize(numbers) for numbers in given])
    theirs = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for numbers in given:
            amounts = zip(*np.unique(numbers, return_counts=True), strict=True)
            composition = PymatgenComposition({SYMBOLS[z]: int(n) for z, n in amounts}).reduced_composition
            theirs.append([float(value) for value in featurizer.featurize(composition)])
    np.testing.assert_allclose(ours, np.array(theirs), rtol=1e-6, atol=1e-6)
    assert {0.0, 1.0} == set(ours[:, magpie.COLUMNS.index("compound possible")].tolist())


def test_sodium_chloride_by_hand():
    salt = named(17, 11)
    assert salt["0-norm"] == 2
    assert salt["2-norm"] == pytest.approx(0.5**0.5)
    assert salt["MagpieData mean Number"] == 14
    assert salt["MagpieData avg_dev Number"] == 3
    assert salt["MagpieData mode Number"] == 11
    assert salt["compound possible"] == 1
    assert salt["max ionic char"] == pytest.approx(1 - np.exp(-0.25 * (3.16 - 0.93) ** 2))
    assert salt["avg ionic char"] == pytest.approx(salt["max ionic char"] / 4)
    assert named(11, 11, 17)["compound possible"] == 0


def test_only_the_ratio_of_elements_matters():
    np.testing.assert_array_equal(of(22, 8, 8), of(8, 22, 8, 8, 8, 22))
    cell = Structure(np.eye(3) * 5, [22, 8, 8], [[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0]])
    found = backbone_of(load_card("magpie")).prepare(cell)
    np.testing.assert_array_equal(found, of(8, 22, 8))


@pytest.mark.parametrize("number", range(1, 119))
def test_no_element_gives_nan(number):
    assert np.isfinite(of(number, 8)).all()
    assert of(number).dtype == np.float32


def test_a_value_that_the_tables_lack_is_the_mean_of_those_they_have():
    known = [named(number)["MagpieData mean Electronegativity"] for number in (2, 10, 18)]
    assert len(set(known)) == 1
    assert 1 < known[0] < 2.5


@pytest.mark.parametrize("numbers", [[0, 8], [8, 119], [200]])
def test_what_is_no_element_is_rejected(engine, numbers):
    structure = Structure(np.eye(3) * 5, numbers, np.random.default_rng(0).random((len(numbers), 3)))
    assert engine([structure]).errors[0].code == "no_features"


def test_a_composition_is_taken_here_and_rejected_by_a_network(engine):
    salt = Composition([11, 17])
    crystal = examples()[0]
    found = engine([salt, crystal])
    assert not found.errors
    assert np.isnan(found.prediction).all()
    np.testing.assert_array_equal(*found.vectors["composition_0"])
    network = Engine(backbone_of(load_card("alignn_mp_eform")), load_source("alignn_mp_eform").state)
    mixed = network([salt, crystal])
    assert list(mixed.errors) == [0]
    assert isinstance(mixed.errors[0], InvalidStructure)
    assert mixed.errors[0].code == "no_structure"
    assert "alignn needs atomic positions" in str(mixed.errors[0])


def test_it_works_where_torch_cannot_be_imported():
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(5, 145) 0 none"
    assert "Warning" not in done.stderr


@pytest.mark.slow
def test_two_workers_give_what_one_process_gives():
    tasks = [examples()[:2], [Composition([26, 8])], examples()[2:]]
    one, two = (list(run_tasks("magpie", tasks, Extract(workers=workers), 6)) for workers in (0, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.vectors["composition_0"], b.vectors["composition_0"])


def test_other_data_give_another_extraction(monkeypatch):
    card = load_card("magpie")
    before = extraction_id(card)
    assert before == extraction_id(card, "tf32") == extraction_id(card, "bfloat16")
    known = magpie.elements()
    other = known._replace(electronegativity=known.electronegativity + 0.01)
    monkeypatch.setattr(magpie, "elements", lambda: other)
    assert extraction_id(card) != before
    monkeypatch.setattr(magpie, "elements", lambda: known._replace(charges=((1,), *known.charges[1:])))
    assert extraction_id(card) != before


def test_without_matminer_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matminer", None)
    magpie.elements.cache_clear()
    with pytest.raises(StrataError, match=r"matminer.*pip install 'strata\[data\]'"):
        extraction_id(load_card("magpie"))
    monkeypatch.undo()
    magpie.elements.cache_clear()


def test_the_environment_names_what_the_vectors_were_made_with():
    ours = environment(backbone_of(load_card("magpie")))
    assert set(ours) == {"matminer", "numpy", "platform"}
    assert set(environment(backbone_of(load_card("alignn_mp_eform")))) >= {"torch", "numpy", "platform"}
    assert provenance(load_card("magpie"), Extract())["matminer"] == ours["matminer"]
