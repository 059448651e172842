import pandas as pd
import pyarrow as pa
import pytest

import featurestore
from core.errors import StrataError


@pytest.fixture(scope="module")
def store(shared_store):
    return featurestore.open(shared_store, files=False)


FRAME = pd.DataFrame({"entry_id": ["alpha-1", "alpha-2", "none"], "mine": [0.5, 1.5, 2.5]}, index=[5, 6, 7])
JOIN = "SELECT m.entry_id, m.mine FROM mine m JOIN entries USING (entry_id) WHERE m.mine > ? ORDER BY ALL"


@pytest.mark.parametrize("frame", [FRAME, pa.Table.from_pandas(FRAME, preserve_index=False)])
def test_a_frame_is_joined_with_the_store(store, frame):
    found = store.sql(JOIN, [0], frames={"mine": frame})
    assert found.fetchall() == [("alpha-1", 0.5), ("alpha-2", 1.5)]
    assert found.df()["mine"].tolist() == [0.5, 1.5]  # again, after the frame is gone
    assert store.sql("SELECT * FROM mine", frames={"mine": frame}).columns == ["entry_id", "mine"]


def test_a_frame_is_there_for_its_question_alone(store):
    first = store.sql("SELECT * FROM mine", frames={"mine": FRAME})
    second = store.sql("SELECT * FROM mine", frames={"mine": FRAME.head(1)})
    assert (len(first.fetchall()), len(second.fetchall())) == (3, 1)
    with pytest.raises(StrataError, match="mine does not exist"):
        store.sql("SELECT * FROM mine").fetchall()
    with pytest.raises(StrataError, match="FRAME does not exist"):  # a variable is no table
        store.sql("SELECT * FROM FRAME").fetchall()


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ({"entries": FRAME}, "the store has a table of that name"),
        ({"Targets": FRAME}, "the store has a table of that name"),
        ({'a"; DROP': FRAME}, "name it by letters"),
        ({"mine": [1, 2]}, "expected a pandas frame or an Arrow table, got list"),
        ({"mine": pd.DataFrame({"a": [1, "x", object()]})}, "cannot be read as a table"),
    ],
)
def test_frames_that_are_refused(store, frames, words):
    with pytest.raises(StrataError, match=words):
        store.sql("SELECT 1", frames=frames)
    assert store.sql("SELECT count(*) > 0 FROM entries").fetchall() == [(True,)]


def test_a_question_with_a_frame_is_still_a_question(store, tmp_path):
    for query in ("DROP VIEW entries", "CREATE TABLE x AS SELECT * FROM mine", "SELECT 1; SELECT 2"):
        with pytest.raises(StrataError):
            store.sql(query, frames={"mine": FRAME})
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with pytest.raises(StrataError):
        store.sql(f"SELECT * FROM mine, '{tmp_path}/secret.csv'", frames={"mine": FRAME})
