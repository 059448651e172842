import pytest

from core.errors import StrataError
from core.params import parse


@pytest.mark.parametrize(
    ("name", "value"), [("seed", -1), ("seed", 10**22), ("bootstrap", -1), ("bootstrap", 10**9)]
)
def test_numbers_of_evaluate_that_lead_nowhere_are_named(name, value):
    with pytest.raises(StrataError, match=rf"evaluate\.{name}"):
        parse({"evaluate": {name: value}})
