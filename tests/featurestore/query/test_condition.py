"""A condition of a user's own: asked of rows that the store does not keep, and of nothing else."""

import numpy as np
import pyarrow as pa
import pytest

import featurestore
from core.errors import StrataError
from featurestore.query.condition import VIEW, Condition
from tests.stores import small_store, structure_id

KNOWN = pa.table({"structure_id": [structure_id(n) for n in range(6)], "n_atoms": [1, 2, 3, 4, 5, None]})
PREDICTED = pa.table({"value": [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]})
BOTH = KNOWN.append_column("value", PREDICTED["value"])


@pytest.fixture
def connection(tmp_path):
    with featurestore.open(small_store(tmp_path / "store", splits=False), files=False) as store:
        yield store.connection


def condition(connection, text):
    return Condition(connection, text, KNOWN.schema, PREDICTED.schema)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("n_atoms > 2", [2, 3, 4]),
        ("n_atoms > 2 -- atoms", [2, 3, 4]),
        ("NOT (n_atoms = 1 OR n_atoms = 2)", [2, 3, 4]),
        ("n_atoms IS NULL", [5]),
        ("true", [0, 1, 2, 3, 4, 5]),
        (
            "structure_id IN (SELECT structure_id FROM targets WHERE value > 0 OR value <= 0)",
            [0, 1, 2, 3, 4, 5],
        ),
        (
            f"EXISTS (FROM entries e WHERE e.structure_id = {VIEW}.structure_id AND position = 3)",
            [3],
        ),
    ],
)
def test_of_what_is_known(connection, text, kept):
    asked = condition(connection, text)
    for mask in (asked.of_known(KNOWN), asked.of_predicted(BOTH)):
        assert np.flatnonzero(mask).tolist() == kept


def test_one_that_needs_a_prediction_says_so(connection):
    asked = condition(connection, "value > 1 AND n_atoms > 2")
    assert asked.of_known(KNOWN) is None
    assert np.flatnonzero(asked.of_predicted(BOTH)).tolist() == [2, 3]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "no_such = 1",
        "n_atoms",
        "count(*) > 1",
        "n_atoms > 1, true",
        "n_atoms > 1; DROP VIEW entries",
        "true) OR (true",
        "true) UNION ALL SELECT 1, 2 FROM (SELECT 3",
        "EXISTS (SELECT * FROM read_csv('/etc/hostname'))",
        "EXISTS (INSERT INTO entries VALUES (1))",
    ],
)
def test_what_is_none_is_refused_at_once_and_leaves_nothing(connection, text):
    with pytest.raises(StrataError, match="--where"):
        condition(connection, text)
    views = {name for (name,) in connection.sql("SELECT view_name FROM duckdb_views()").fetchall()}
    assert VIEW not in views
    assert "entries" in views


def test_an_error_among_the_rows_is_told(connection):
    asked = condition(connection, "structure_id::INTEGER > 3")
    with pytest.raises(StrataError, match=r"--where .*cannot be asked"):
        asked.of_known(KNOWN.set_column(0, "structure_id", pa.array(["x"] * 6)))
