"""What a step does to the weights: rates by layer, decay, the moving average."""

import pytest
import torch

from tests.training import QUICK, examples, network
from zoo.training.initial import freeze
from zoo.training.loop import Paused, train
from zoo.training.optimizer import MovingAverage, adamw, set_rate

AVERAGED = QUICK.model_copy(update={"moving_average": 0.9})


def rates(model, layer_decay):
    """The learning rate of each parameter where the head's is 1, and its weight decay."""
    optimizer = adamw(model, QUICK, layer_decay)
    set_rate(optimizer, 1.0, 0.9)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


@pytest.mark.parametrize("kind", ["alignn", "alignn_atomwise"])
def test_each_layer_learns_more_slowly_than_the_next(kind):
    found = rates(network(kind=kind), 0.5)
    assert found.keys() == {name for name, _ in network(kind=kind).named_parameters()}
    for name, depth in {
        "fc.weight": 9,
        "gcn_layers.3.src_gate.weight": 8,
        "gcn_layers.0.bn_nodes.weight": 5,
        "alignn_layers.3.edge_update.edge_gate.bias": 4,
        "alignn_layers.0.node_update.src_update.weight": 1,
        "atom_embedding.layer.0.weight": 0,
        "angle_embedding.2.layer.1.bias": 0,
    }.items():
        assert found[name][0] == pytest.approx(0.5 ** (9 - depth)), name


def test_without_a_decay_of_layers_all_have_one_rate_and_weights_alone_decay():
    model = network()
    assert len(adamw(model, QUICK).param_groups) == 2
    for name, (rate, decay) in rates(model, 1.0).items():
        assert rate == 1.0
        assert decay == (QUICK.weight_decay if model.get_parameter(name).ndim > 1 else 0.0), name


def test_what_is_frozen_is_in_no_group():
    model = network()
    assert rates(model, 0.5).keys() > rates_of_head(model)


def rates_of_head(model):
    freeze(model, "head")
    found = rates(model, 0.5).keys()
    assert found == {"fc.weight", "fc.bias"}
    return found


def test_the_average_forgets_the_first_steps_soon_and_the_last_ones_slowly():
    model, average = network(), MovingAverage(0.9)
    for step in range(1, 401):
        with torch.no_grad():
            model.fc.bias.fill_(0.0 if step <= 2 else 1.0)
        average.update(model, step)
        if step == 3:
            assert average.of(model)["fc.bias"].item() == pytest.approx(1 - 4 / 13)
    assert average.of(model)["fc.bias"].item() == pytest.approx(1, abs=1e-6)
    with torch.no_grad():
        model.fc.bias.fill_(0.0)
    average.update(model, 401)
    assert average.of(model)["fc.bias"].item() == pytest.approx(0.9)


def test_without_an_average_the_state_itself_is_kept():
    model, average = network(), MovingAverage(0.0)
    average.update(model, 1)
    assert torch.equal(average.of(model)["fc.weight"], model.fc.weight)
    assert average.kept == {}


@pytest.mark.parametrize("kind", ["alignn", "alignn_atomwise"])
def test_a_training_with_an_average_goes_on_as_if_it_had_not_stopped(tmp_path, kind):
    data = examples(tmp_path)
    whole = train(network(kind=kind), data, AVERAGED, tmp_path / "whole", "key", layer_decay=0.7)
    for _ in range(9):
        try:
            parts = train(
                network(kind=kind), data, AVERAGED, tmp_path / "parts", "key", seconds=0, layer_decay=0.7
            )
            break
        except Paused:
            continue
    assert parts.history == whole.history
    assert all(torch.equal(parts.state[name], tensor) for name, tensor in whole.state.items())
    plain = train(network(kind=kind), data, QUICK, tmp_path / "plain", "key", layer_decay=0.7)
    assert not torch.equal(plain.state["fc.weight"], whole.state["fc.weight"])
