import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.errors import StrataError
from etl.formulas import FUNCTIONS, evaluate, parse

numbers = st.floats(-1e6, 1e6)


def value_of(formula, value, **context):
    return evaluate(parse(formula), value, **context)


@pytest.mark.parametrize(
    ("formula", "value", "expected"),
    [
        ("component(value, 1, 3)", [[1, 2, 3], [4, 5, 6]], 3.0),
        ("component(value, 2, 1)", [[1, 2, 3], [4, 5, 6]], 4.0),
        ("item(value, n)", {"n": 0.5, "p": 1}, 0.5),
        ("mean(item(value, p))", {"n": 1, "p": [1, 2, 6]}, 3.0),
        ("mean(value)", [[1, 9, 9], [9, 2, 9], [9, 9, 6]], 3.0),
        ("mean(value)", 4, 4.0),
        ("largest(value)", [-3, -1.5], -1.5),
        ("smallest(value)", [-3, -1.5], -3.0),
        ("norm(value)", [[3.0, 0], [0, 4.0]], 5.0),
        ("largest_eigenvalue(value)", [[2, 1], [1, 2]], 3.0),
        ("largest_eigenvalue(value)", [[2, 2], [0, 2]], 3.0),
    ],
)
def test_functions(formula, value, expected):
    assert value_of(formula, value) == pytest.approx(expected)


def test_every_function_says_what_it_does():
    assert all(function.__doc__ for function, _ in FUNCTIONS.values())


@given(arrays(float, (3, 3), elements=numbers))
def test_largest_eigenvalue_lies_above_every_component_of_the_diagonal(tensor):
    found = value_of("largest_eigenvalue(value)", tensor.tolist())
    assert found >= tensor.diagonal().max() - 1e-6 * (1 + abs(tensor).max())


@given(arrays(float, (3, 6), elements=numbers))
def test_norm_does_not_depend_on_order_or_sign(tensor):
    assert value_of("norm(value)", (-tensor[::-1]).tolist()) == pytest.approx(
        value_of("norm(value)", tensor.tolist())
    )


@settings(deadline=None)  # the first call imports jarvis-tools
@given(st.floats(5, 60), st.floats(2, 20), st.floats(2, 20))
def test_the_mesh_is_that_of_jarvis_tools(length, a, c):
    kpoints = pytest.importorskip("jarvis.core.kpoints")
    cell = np.array([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0.3, 0.1, c]])
    counts = length * np.linalg.norm(np.linalg.inv(cell).T, axis=1) + 0.5
    assume(np.abs(counts - counts.round()).min() > 1e-3)  # jarvis-tools rounds the cell
    theirs = kpoints.Kpoints3D().automatic_length_mesh(lattice_mat=cell, length=length).kpts[0]
    assert value_of("mean(mesh(value))", length, lattice=cell) == pytest.approx(np.mean(theirs))


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("component(value, 1, 1)", "na"),
        ("component(value, 1, 1)", None),
        ("component(value, 1, 1)", [["na", 1], [1, 1]]),
        ("largest(value)", []),
        ("mean(item(value, n))", {"n": "na", "p": 1}),
        ("mean(item(value, n))", {"p": 1}),
        ("mean(item(value, n))", {}),
        ("mean(mesh(value))", 30.0),  # without a lattice
    ],
)
def test_missing(formula, value):
    assert value_of(formula, value, null_tokens=["na"]) is None


@pytest.mark.parametrize(
    ("formula", "value", "words"),
    [
        ("component(value, 3, 1)", [[1, 2], [3, 4]], "has no component 3, 1"),
        ("component(value, 1, 1)", [1, 2], "1 dimensions, expected 2"),
        ("component(value, 1, 1)", "x1", "not made of numbers"),
        ("largest(value)", [1, "x1"], "not made of numbers"),
        ("largest(value)", [[1], [2, 3]], "not made of numbers"),
        ("item(value, n)", [1], "no mapping"),
        ("largest_eigenvalue(value)", [[1, 2, 3], [4, 5, 6]], "not square"),
    ],
)
def test_other_shapes_are_errors(formula, value, words):
    with pytest.raises(StrataError, match=words):
        value_of(formula, value, null_tokens=["na"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("value", "one call"),
        ("3", "one call"),
        ("", "one call"),
        ("largest(value) extra", "one call"),
        ("largest(value", "never closed"),
        ("largest(,)", "one call"),
        ("largest(value\0)", "one call"),
        ("largest(value, 1)", "takes 1 arguments"),
        ("__import__(os)", "unknown function '__import__'"),
        ("largest(value.x)", "only calls, names and whole numbers are allowed, not value.x"),
        ("largest(value) + 1", "only calls"),
        ("largest(*value)", "only calls"),
        ("largest(value=value)", "only calls"),
        ("value.largest(value)", "only calls"),
        ("component(value, -1, 1)", "only calls"),
        ("component(value, 1.5, 1)", "only calls"),
        ("component(value, True, 1)", "only calls"),
        ("item(value, 'n')", "only calls"),
        ("largest(lambda: value)", "only calls"),
    ],
)
def test_formulas_that_cannot_be_read(text, words):
    with pytest.raises(StrataError, match=words):
        parse(text)
