"""ALIGNN's checkpoints and tensors, as data."""

import pytest
from pydantic import ValidationError

from zoo.backbones.alignn.architecture import MODULES, Architecture
from zoo.hub import load_source


def test_checkpoints_are_those_of_the_paper_in_its_order():
    found = Architecture().checkpoints
    expected = [(kind, depth) for kind, n in (("atom", 9), ("bond", 9), ("angle", 5)) for depth in range(n)]
    assert [(c.kind, c.depth) for c in found] == expected
    assert [c.name for c in found] == [f"{kind}_{depth}" for kind, depth in expected]
    assert len(found) == 23
    assert {c.width for c in found} == {256}


def test_every_checkpoint_has_its_place_in_alignns_own_model():
    assert sorted(MODULES) == sorted(c.name for c in Architecture().checkpoints)
    assert len(set(MODULES.values())) == len(MODULES)


def test_shapes_are_those_of_the_weights():
    state = load_source("alignn_mp_eform").state
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == Architecture().shapes()


@pytest.mark.parametrize(
    ("size", "tensor", "axis"),
    [
        ("edge_input_features", "edge_embedding.1.layer.0.weight", 1),
        ("triplet_input_features", "angle_embedding.0.centers", 0),
        ("embedding_features", "edge_embedding.1.layer.0.weight", 0),
        ("output_features", "fc.weight", 0),
    ],
)
def test_shapes_follow_the_sizes_that_may_differ(size, tensor, axis):
    assert Architecture(**{size: 7}).shapes()[tensor][axis] == 7


@pytest.mark.parametrize("change", [{"hidden_features": 128}, {"alignn_layers": 2}, {"name": "cgcnn"}])
def test_sizes_that_the_checkpoints_rest_on_are_fixed(change):
    with pytest.raises(ValidationError):
        Architecture(**change)
