import pytest

from core.errors import StrataError
from heads.registry import check_sections, resolve


@pytest.mark.parametrize(
    ("head", "settings", "words"),
    [
        ("ridge", {"alphas": [1, "x"]}, "heads.ridge.alphas: 'x' in [1, 'x'] is no number"),
        ("ridge", {"alphas": 1}, "expected a list of numbers, such as [0.01, 0.03], got 1"),
        ("ridge", {"alphas": [True]}, "True in [True] is no number"),
        ("lightgbm", {"n_estimators": "many"}, "heads.lightgbm.n_estimators: expected a number, got 'many'"),
        ("lightgbm", {"objective": 3}, "expected a word, got 3"),
        ("nn17", {"standardise": "yes"}, "expected true or false, got 'yes'"),
    ],
)
def test_a_setting_of_another_kind_is_named_before_anything_is_fitted(head, settings, words):
    with pytest.raises(StrataError) as caught:
        check_sections({head: settings})
    assert words in str(caught.value)
    with pytest.raises(StrataError):
        resolve(head, {head: settings})


def test_a_whole_number_stands_for_a_number(tmp_path):
    assert resolve("ridge", {"ridge": {"alphas": [1, 10]}}).settings["alphas"] == [1, 10]
    assert resolve("svr", {"svr": {"epsilon": 1}}).settings["epsilon"] == 1
