"""The engine with CHGNet's weights, for all of its tests."""

from importlib.util import find_spec

import pytest

from core.params import Extract
from zoo.backbones.engine import Engine
from zoo.hub import backbone_of, load_card, load_source


@pytest.fixture(scope="package")
def engine() -> Engine:
    if find_spec("chgnet") is None:
        pytest.skip("the package chgnet, whose wheel carries the weights, is not installed")
    card = load_card("chgnet")
    return Engine(backbone_of(card), load_source("chgnet").state, Extract(device="cpu", threads=1))
