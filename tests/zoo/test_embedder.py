"""The transformer for scikit-learn's pipelines."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline

from core.errors import StrataError
from zoo.embed import embed
from zoo.embedder import Embedder

METALS = [bulk(name) for name in ("Cu", "Ag", "Au", "Al", "Ni", "Pd")]
MODULI = [140.0, 100.0, 180.0, 76.0, 180.0, 180.0]
OVERLAPPING = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.01]], cell=np.eye(3) * 5, pbc=True)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def test_vectors_are_those_of_embed():
    transformer = Embedder(checkpoints=["bond_3", "atom_0"])
    found = transformer.fit_transform(METALS)
    expected = embed(METALS, checkpoints=["bond_3", "atom_0"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.vectors, atol=1e-5)
    names = transformer.get_feature_names_out()
    assert len(names) == found.shape[1] == 512
    assert [names[0], names[255], names[256]] == ["bond_3_0", "bond_3_255", "atom_0_0"]


def test_by_default_the_deepest_of_each_kind():
    assert Embedder().fit().transform([METALS[0]]).shape == (1, 768)
    assert Embedder("magpie").fit().transform(METALS).shape == (6, 145)


def test_files_and_structures_may_be_mixed(tmp_path):
    path = tmp_path / "mine.vasp"
    path.write_text("Al\n1.0\n4.05 0 0\n0 4.05 0\n0 0 4.05\nAl\n1\ndirect\n0 0 0\n", encoding="utf-8")
    assert Embedder("magpie").fit().transform([METALS[0], path, str(path)]).shape == (3, 145)


def test_it_can_be_cloned_and_set():
    given = Embedder("magpie", checkpoints=["composition_0"])
    copy = clone(given)
    assert (
        copy.get_params()
        == given.get_params()
        == {"source_model": "magpie", "checkpoints": ["composition_0"]}
    )
    assert copy.set_params(source_model=None).source_model is None
    with pytest.raises(NotFittedError):
        copy.transform(METALS)
    with pytest.raises(NotFittedError):
        copy.get_feature_names_out()


def test_it_is_a_step_of_pipelines_and_searches():
    model = make_pipeline(Embedder("magpie"), Ridge())
    assert model.fit(METALS, MODULI).predict(METALS[:2]).shape == (2,)
    assert cross_val_predict(model, METALS, MODULI, cv=3).shape == (6,)
    search = GridSearchCV(model, {"ridge__alpha": [0.1, 10.0]}, cv=2, scoring="neg_mean_absolute_error")
    assert set(search.fit(METALS, MODULI).best_params_) == {"ridge__alpha"}
    frame = Embedder("magpie").set_output(transform="pandas").fit_transform(METALS)
    assert frame.shape == (6, 145)


def test_a_structure_that_cannot_be_used_is_named():
    with pytest.raises(
        StrataError, match=r"structure 1 of 3 \(Atoms.*H2.*\) cannot be embedded: min_dist.*leave it out"
    ):
        Embedder("magpie").fit().transform([METALS[0], OVERLAPPING, METALS[1]])


def test_a_file_of_several_structures_is_refused(tmp_path):
    path = tmp_path / "waters.xyz"
    path.write_text(2 * "3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n", encoding="utf-8")
    with pytest.raises(
        StrataError, match=r"waters.xyz holds 2 structures, and one id was given for it: 'structure 0'"
    ):
        Embedder("magpie").fit().transform([path])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"source_model": "chgnt"}, "unknown source model 'chgnt'; did you mean 'chgnet'"),
        ({"checkpoints": ["atom_9"]}, "unknown checkpoint 'atom_9'"),
    ],
)
def test_unknown_settings_are_named_by_fit(settings, says):
    with pytest.raises(StrataError, match=says):
        Embedder(**settings).fit(METALS)
