"""Numbers as people read them."""

import pytest

from core.text import number


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-2.5, "−2.5"), (1e-9, "1e-9"), (123456.0, "123500"), (None, "–"), (float("nan"), "–")],
)
def test_numbers_are_written_for_people(value, text):
    assert number(value) == text.replace("-", "−")
