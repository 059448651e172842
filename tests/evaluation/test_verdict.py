"""The rule of the verdict."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.verdict import RULE, Evidence, Word, judge

GOOD = Evidence(
    error=1.0, base=4.0, over_base=0.3, composition=2.0, scratch=1.5, tested=50, coverage=0.88, level=0.9
)


def test_every_verdict_has_its_rule():
    assert set(RULE) == set(Word)
    assert judge(GOOD) == judge(replace(GOOD, composition=None, scratch=None, coverage=None))
    assert judge(GOOD).word == Word.WORTH
    assert judge(GOOD).reasons == ()


@pytest.mark.parametrize(
    ("changes", "word", "reason"),
    [
        ({"base": 1.2}, Word.BARELY, "less than 20 % below Base's"),
        ({"composition": 0.9}, Word.BARELY, "composition alone predicts it as well"),
        ({"scratch": 1.0}, Word.BARELY, "a network trained from scratch predicts it as well"),
        ({"coverage": 0.7}, Word.BARELY, "intervals of 90 % held 70 %"),
        ({"tested": 5}, Word.BARELY, "only 5 entries were tested"),
        ({"over_base": 1.1}, Word.NOT, "interval of the error over Base's reaches 1"),
        ({"error": 4.0, "over_base": 1.1}, Word.NOT, "the error is not below Base's"),
        ({"base": None}, Word.UNKNOWN, "there is no Base"),
        ({"over_base": None}, Word.UNKNOWN, "no interval"),
        ({"seen": ("net",)}, Word.UNKNOWN, "that net was trained on"),
    ],
)
def test_a_verdict_says_what_is_missing(changes, word, reason):
    found = judge(replace(GOOD, **changes))
    assert found.word == word
    assert any(reason in said for said in found.reasons)


@given(st.floats(0.01, 10), st.floats(0.01, 10), st.integers(1, 100))
def test_a_smaller_error_has_no_worse_verdict(error, less, tested):
    order = [Word.NOT, Word.BARELY, Word.WORTH]
    verdicts = [
        judge(Evidence(error=e, base=5.0, over_base=1.2 * e / 5, composition=3.0, tested=tested)).word
        for e in sorted((error, less), reverse=True)
    ]
    assert order.index(verdicts[0]) <= order.index(verdicts[1])
