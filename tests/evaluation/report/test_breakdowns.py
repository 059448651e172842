"""Errors by chemistry, size and distance."""

import numpy as np
import pandas as pd
import pytest

from core.structure import SYMBOLS
from evaluation.report.breakdowns import FEWEST, breakdowns, class_of


def rows(n=40):
    rng = np.random.default_rng(0)
    oxide = np.arange(n) % 2 == 0
    percentile = np.linspace(0, 99, n)
    return pd.DataFrame(
        {
            "numbers": [[8, 22] if o else [17, 11] for o in oxide],
            "n_atoms": rng.integers(1, 20, n),
            "error": np.where(oxide, 1.0, 3.0),
            "percentile": percentile,
            "domain": np.select([percentile < 75, percentile < 95], ["inside", "edge"], "outside"),
        }
    )


def test_groups_hold_every_entry_once_with_its_error():
    found = {one.title: one for one in breakdowns(rows())}
    assert list(found) == ["By class of compound", "By element", "By size", "By distance to the training set"]
    by_class = {group.label: group for group in found["By class of compound"].groups}
    assert {label: (group.n, group.mae) for label, group in by_class.items()} == {
        "oxides": (20, 1.0),
        "halides": (20, 3.0),
    }
    elements = found["By element"].groups
    assert [group.mae for group in elements] == sorted((g.mae for g in elements), reverse=True)
    assert {group.label for group in elements} == {"with O", "with Ti", "with Cl", "with Na"}
    assert sum(group.n for group in found["By size"].groups) == 40
    assert [g.label for g in found["By distance to the training set"].groups][
        -1
    ] == "at the edge"  # two outside


def test_few_entries_make_no_group():
    assert breakdowns(rows(FEWEST - 1)) == ()
    assert breakdowns(rows()[["error"]]) == ()


@pytest.mark.parametrize(
    ("symbols", "name"),
    [
        (("Si",), "elements"),
        (("C", "H", "O"), "organic: carbon and hydrogen"),
        (("Cl", "O", "Ti"), "oxides"),
        (("As", "Ga"), "pnictides"),
        (("C", "Ti"), "carbides, borides, silicides, hydrides"),
        (("Al", "Ni"), "intermetallics and others"),
    ],
)
def test_classes_of_compounds(symbols, name):
    assert class_of([SYMBOLS.index(one) for one in symbols]) == name
