import pytest

import featurestore
from core.errors import StrataError
from featurestore.tables import maintenance
from featurestore.tables.log import snapshot

QUESTIONS = [
    "SELECT 1",
    "FROM range(3)",
    "WITH x AS (SELECT 1 AS a) SELECT a FROM x",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE SELECT 1",
    "/* why */ explain -- so\n analyze /* it */ SELECT count(*) FROM entries",
    "EXPLAIN (FORMAT json) SELECT 1",
    "EXPLAIN (ANALYZE, FORMAT json) SELECT 1",
    "EXPLAIN (SELECT 1)",
    "EXPLAIN ANALYZE (SELECT 1)",
    "DESCRIBE SELECT 1",
]
NO_QUESTIONS = [
    "COPY (SELECT 1) TO '{path}'",
    "EXPLAIN ANALYZE COPY (SELECT 1 AS a) TO '{path}' (FORMAT parquet)",
    "EXPLAIN (ANALYZE) COPY (SELECT 1 AS a) TO '{path}' (FORMAT parquet)",
    "EXPLAIN (ANALYZE, FORMAT json) COPY (SELECT 1 AS a) TO '{path}' (FORMAT parquet)",
    "/* a */ EXPLAIN -- b\n/* c */ ANALYZE /* SELECT */ COPY (SELECT 1 AS a) TO '{path}' (FORMAT parquet)",
    "EXPLAIN ANALYZE CREATE OR REPLACE VIEW entries AS SELECT 1",
    "EXPLAIN ANALYZE INSERT INTO stored_log SELECT * FROM stored_log",
    "EXPLAIN COPY (SELECT 1) TO '{path}'",
    "EXPLAIN ANALYZE SET threads = 1",
    "EXPLAIN ANALYZE INSTALL httpfs",
    "PREPARE a AS SELECT 1",
    "PRAGMA threads = 1",
    "SET lock_configuration = false",
    "SELECT 1; SELECT 2",
]


@pytest.mark.parametrize("query", QUESTIONS)
def test_questions_are_answered(shared_store, query):
    assert featurestore.open(shared_store).sql(query).fetchall()


@pytest.mark.parametrize("query", NO_QUESTIONS)
def test_whatever_would_write_is_refused_also_where_it_is_explained(store_root, query):
    path = snapshot(store_root / "entries" / "alpha").paths[0]
    store = featurestore.open(store_root)
    with pytest.raises(StrataError):
        store.sql(query.format(path=path)).fetchall()
    assert not maintenance.verify(store_root).damages
    assert store.sql("SELECT count(*) FROM entries").fetchall() == [(70,)]
    assert featurestore.open(store_root).datasets() == ["alpha", "beta"]


def test_files_outside_of_the_store_can_be_kept_from_those_who_ask(store_root, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("a\n1\n")
    asked = f"SELECT a FROM read_csv('{other}')"
    assert featurestore.open(store_root).sql(asked).fetchall() == [(1,)]
    served = featurestore.open(store_root, files=False)
    for query in (asked, "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM glob('/etc/*')"):
        with pytest.raises(StrataError, match="disabled by configuration"):
            served.sql(query)
    assert served.sql("SELECT count(*) FROM entries").fetchall() == [(70,)]
    assert served.sql("SELECT count(*) FROM log").fetchall() == [(served.version,)]
    assert served.matrix("alpha", "energy").X.shape[0] == 40


def test_linked_tables_belong_to_the_store_that_is_asked(store_root, tmp_path):
    outside = tmp_path / "elsewhere" / "features"
    outside.parent.mkdir()
    (store_root / "features").rename(outside)
    (store_root / "features").symlink_to(outside)
    assert featurestore.open(store_root, files=False).sql("SELECT count(*) FROM features").fetchall() == [
        (50,)
    ]


def test_no_extension_is_fetched(shared_store):
    with pytest.raises(StrataError):
        featurestore.open(shared_store).sql("SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')").fetchall()
    assert featurestore.open(shared_store).sql(
        "SELECT value FROM duckdb_settings() WHERE name = 'autoinstall_known_extensions'"
    ).fetchall() == [("false",)]


def test_what_was_collected_since_the_store_was_opened(store_root):
    store = featurestore.open(store_root)
    maintenance.compact(store_root)
    store.matrix("alpha", "energy")  # its shards are of the past, and young
    maintenance.gc(store_root)
    store.matrix("beta", "energy", "atom_3")
    maintenance.gc(store_root, 0)
    with pytest.raises(StrataError, match="open the store again"):
        store.matrix("alpha", "energy", "atom_2")


def test_opening_while_shards_are_joined_and_collected(store_root, start):
    code = f"""
from pathlib import Path
from featurestore.tables import maintenance
from tests.stores import add_features
root = Path({str(store_root)!r})
for number in range(12):
    add_features(root, range(100 + number, 102 + number), f"e{{number}}")
    maintenance.compact(root, ("features", "extractions"))
    maintenance.gc(root, 0)
"""
    churn = start("-c", code)
    opened = 0
    while churn.poll() is None:
        assert featurestore.open(store_root).datasets() == ["alpha", "beta"]
        opened += 1
    assert churn.returncode == 0, churn.communicate()
    assert opened > 1
