"""The figure of the search over layers."""

import pytest

pytest.importorskip("vl_convert")

from evaluation.report.vega_files import inline
from evaluation.report.vega_layers import layers_spec


def test_cells_say_property_set_error_and_head():
    drawn = inline(layers_spec({("mine", "<gap>"): {"a/last": (0.4, "svr"), "a/all+b/all": (0.5, "mlp")}}))
    assert "mine: &lt;gap&gt; from a/all+b/all: 0.5 (mlp), 1.25 × the best" in drawn
    assert ">1.25<" in drawn
    assert "<gap>" not in drawn
