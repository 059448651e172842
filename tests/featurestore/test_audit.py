"""The audit of test parts: a row for each evaluation, none twice."""

from featurestore import audit, open_store
from tests.stores import small_store

SEEN = {
    "run_id": "a" * 64,
    "dataset": "alpha",
    "property": "gap",
    "scheme": "random",
    "seed": 0,
    "fold": 0,
    "role": "chosen",
    "among": "",
    "stage": "evaluate",
    "n": 7,
}


def rows(root) -> list[tuple]:
    return open_store(root).sql("SELECT run_id, role, n, looked_at FROM looks ORDER BY ALL").fetchall()


def test_each_evaluation_leaves_one_row(tmp_path):
    root = small_store(tmp_path / "store")
    audit.record(open_store(root), [SEEN, SEEN | {"role": "base"}])
    first = rows(root)
    assert [row[:3] for row in first] == [("a" * 64, "base", 7), ("a" * 64, "chosen", 7)]
    assert all(row[3] is not None for row in first)
    audit.record(open_store(root), [SEEN])
    assert rows(root) == first
    audit.record(open_store(root), [SEEN, SEEN | {"run_id": "b" * 64}])
    assert [row[0][0] for row in rows(root)] == ["a", "a", "b"]


def test_what_else_a_caller_knows_is_left_out(tmp_path):
    root = small_store(tmp_path / "store")
    audit.record(open_store(root), [SEEN | {"val_mae": 0.1}])
    assert len(rows(root)) == 1
    audit.record(open_store(root), [])
    assert len(rows(root)) == 1
