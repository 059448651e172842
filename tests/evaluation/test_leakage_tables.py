"""What an audit of leakage shows."""

import csv as reading
import io

import pytest

from evaluation.evaluate import evaluate
from evaluation.leakage import ENTRY_COLUMNS, audit
from evaluation.leakage_tables import csv, notes, tables
from tests.evaluation.conftest import DATASET, add_megnet, name_of


@pytest.fixture
def scored(leaky):
    add_megnet(leaky)
    evaluate(leaky.params, leaky.store, leaky.root)
    return audit(leaky.store, DATASET, "volume")


def rows_of(found, words: str) -> list[tuple]:
    """Return the rows of the one table whose title has these words."""
    (shown,) = [shown for shown in tables(found) if words in shown.title]
    return shown.rows


def test_scores_with_and_without_the_affected_entries(scored):
    rows = [row[2:6] for row in rows_of(scored, "test scores")]
    assert rows == [
        ("all", 10, "MAE", "5.5"),  # errors 1, …, 10
        ("not affected, as far as is known", 7, "MAE", "7"),  # 4, …, 10
        ("affected", 3, "MAE", "2"),  # 1, 2, 3
        ("  seen by a source model", 1, "MAE", "2"),
        ("  in train or val too", 2, "MAE", "2"),  # 1 and 3
    ]
    assert {row[-1] for row in rows_of(scored, "test scores")} == {"Å³/atom"}


def test_what_is_shared(scored):
    assert rows_of(scored, "another part") == [("volume", "random:0", 10, 1, 1, 0)]
    assert rows_of(scored, "other datasets") == [("megnet", 2, 2)]
    (row,) = rows_of(scored, "was trained on")
    assert row[3:] == ("alignn_mp_eform", 10, "at most 1, of the rest not known", "no")


def test_what_is_not_known_is_said(leaky):
    found = audit(leaky.store, DATASET, "volume")
    (row,) = rows_of(found, "whose crystal a source model was trained on")
    assert row[2:] == ("–", "alignn_mp_eform", 10, "not known", "no")
    assert not [shown for shown in tables(found) if "test scores" in shown.title]
    said = "\n".join(notes(found))
    for words in ("strata ingest megnet", "No other dataset of the store", "No run on volume was scored"):
        assert words in said


def test_the_csv_has_a_line_per_test_entry(scored):
    lines = list(reading.DictReader(io.StringIO(csv(scored))))
    assert list(lines[0]) == list(ENTRY_COLUMNS)
    assert [line["entry_id"] for line in lines] == [name_of(i) for i in range(50, 60)]
    assert [line["affected"] for line in lines] == ["True"] * 3 + ["False"] * 7
    assert [float(line["error"]) for line in lines] == pytest.approx(list(range(1, 11)))


def test_errors_that_are_not_known_are_empty_in_the_csv(leaky):
    lines = list(reading.DictReader(io.StringIO(csv(audit(leaky.store, DATASET, "volume")))))
    assert {line["error"] for line in lines} == {line["run_id"] for line in lines} == {""}
