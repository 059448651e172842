import pytest

from core.errors import StrataError
from core.params import parse


@pytest.mark.parametrize(
    ("name", "value"), [("seed", -1), ("seed", 10**22), ("bootstrap", -1), ("bootstrap", 10**9)]
)
def test_numbers_of_evaluate_that_lead_nowhere_are_named(name, value):
    with pytest.raises(StrataError, match=rf"evaluate\.{name}"):
        parse({"evaluate": {name: value}})


@pytest.mark.parametrize(("old", "new"), [(True, "tf32"), (False, "float32"), ("yes", "float32")])
def test_the_older_setting_of_the_numeric_mode_names_the_present_one(old, new):
    with pytest.raises(StrataError, match=rf"here, extract: .*extract\.precision; write `precision: {new}`"):
        parse({"extract": {"tf32": old}}, "here")


def test_an_unknown_numeric_mode_is_named_with_the_known_ones():
    with pytest.raises(StrataError, match=r"extract\.precision: .*'bfloat16' or 'tf32', got 'half'"):
        parse({"extract": {"precision": "half"}})
    assert parse({"extract": {"precision": "bfloat16"}}).extract.precision == "bfloat16"
