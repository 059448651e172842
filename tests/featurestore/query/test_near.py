from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import featurestore
from core.errors import StrataError
from featurestore.query.near import METRICS, Nearest, distances, nearest
from tests.published import crystal
from tests.stores import add_dataset, structure_id, vectors_of


@pytest.fixture(scope="module")
def store(shared_store):
    return featurestore.open(shared_store)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_distances_are_those_of_sql(store, metric):
    function = {"euclidean": "array_distance", "cosine": "array_cosine_distance"}[metric]
    expected = store.sql(
        f"WITH one AS (SELECT bond_2 AS v FROM features WHERE structure_id = ?) "
        f"SELECT f.structure_id, {function}(bond_2, v) AS d FROM features f, one "
        "WHERE f.structure_id <> ? ORDER BY d LIMIT 7",
        [structure_id(11)] * 2,
    ).fetchall()
    found = store.near(structure_id(11), 7, "bond_2", metric=metric)
    assert found["structure_id"].to_pylist() == [row[0] for row in expected]
    assert found["distance"].to_pylist() == pytest.approx([row[1] for row in expected], rel=1e-4)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 35))
def test_the_nearest_are_the_first_of_all_sorted(values, k):
    found = nearest(np.array(values, float), k)
    assert found.tolist() == np.argsort(values, kind="stable")[:k].tolist()


# Few numbers, so that many distances are equal; and ones whose squares single precision cannot hold.
_COORDINATES = st.sampled_from([0.0, 1.0, -1.0, 1.0000001, 1e-25, 3e25])


@given(
    arrays(np.float32, st.tuples(st.integers(1, 40), st.just(3)), elements=_COORDINATES.map(np.float32)),
    st.integers(1, 45),
    st.integers(1, 9),
    st.sampled_from(METRICS),
    st.randoms(use_true_random=False),
)
def test_what_is_shown_in_pieces_in_any_order_gives_the_nearest_of_all(kept, k, size, metric, order):
    assume(metric == "euclidean" or kept.max() < 2)  # a product of large numbers is no number
    search = Nearest(kept[0], 3, k, metric)
    pieces = [slice(start, start + size) for start in range(0, len(kept), size)]
    order.shuffle(pieces)
    for piece in pieces:
        search.look(np.arange(len(kept))[piece], kept[piece])
    places, far = search.found()
    every = distances(kept, kept[0], metric)
    assert far.tolist() == pytest.approx(np.sort(every)[:k].tolist(), rel=1e-6, abs=1e-6)
    assert far.tolist() == pytest.approx(every[places].tolist(), rel=1e-6, abs=1e-6)
    assert len(set(places.tolist())) == min(k, len(kept))


def test_no_more_than_a_shard_of_vectors_is_shown_at_once(store, monkeypatch):
    shown = []
    look = Nearest.look

    def count(self, places, vectors):
        shown.append(len(vectors))
        look(self, places, vectors)

    monkeypatch.setattr(Nearest, "look", count)
    assert store.near(structure_id(3), 4).num_rows == 4
    assert sorted(shown) == [2, 15, 16, 16]  # 50 in shards of 16, without itself


def test_a_zero_vector_is_far_from_everything():
    assert distances(np.zeros((2, 4), np.float32), np.ones(4, np.float32), "cosine").tolist() == [1, 1]


def test_an_entry_finds_others_of_a_dataset_and_never_itself(store):
    found = store.near("alpha-35", 50, dataset="beta").to_pylist()
    assert structure_id(35) not in {row["structure_id"] for row in found}
    assert len(found) == 19
    assert [row["distance"] for row in found] == sorted(row["distance"] for row in found)
    shared = next(row for row in found if row["structure_id"] == structure_id(36))
    assert shared["entries"] == ["alpha/alpha-36", "beta/beta-21", "beta/beta-6"]
    assert (shared["formula"], shared["n_atoms"]) == ("Si", 1)


def test_a_vector_of_ones_own_finds_itself_among_all(store):
    found = store.near(vectors_of(7)["atom_8"], 3)
    assert found["structure_id"][0].as_py() == structure_id(7)
    assert found["distance"][0].as_py() == 0
    assert found.num_rows == 3


@pytest.mark.parametrize(
    ("asked", "options", "says"),
    [
        ("alhpa-1", {}, "neither a file, nor an entry_id"),
        ("alpha-1", {"k": 0}, "k is 0"),
        ("alpha-1", {"checkpoint": "atom_bond_3"}, "several checkpoints"),
        ("alpha-1", {"checkpoint": "atom_9"}, "unknown feature set"),
        ("alpha-1", {"metric": "cosin"}, "did you mean 'cosine'"),
        ("alpha-1", {"dataset": "gamma"}, "unknown dataset"),
        ("x' OR 1=1 --", {}, "neither a file"),
    ],
)
def test_what_cannot_be_asked(store, asked, options, says):  # row 37
    with pytest.raises(StrataError, match=says):
        store.near(asked, **options)


def test_a_vector_of_another_width_is_refused(store):
    with pytest.raises(StrataError, match=r"a vector of 256 numbers is compared here, and \(3,\) was given"):
        store.near(np.zeros(3, np.float32))


def test_an_id_that_means_two_structures_is_told(tmp_path):
    for dataset, number in (("a", 1), ("b", 2)):
        add_dataset(tmp_path / "store", dataset, [number])
    from featurestore.tables.layout import StoreLayout
    from tests.stores import SCHEMAS, add_features, pa, write

    rows = [
        {"dataset": name, "entry_id": "same", "structure_id": structure_id(number), "position": 1}
        for name, number in (("c", 1), ("d", 2))
    ]
    for row in rows:
        folder = StoreLayout(tmp_path / "store").entries(row["dataset"])
        write(folder, "entries", pa.Table.from_pylist([row], SCHEMAS["entries"]))
    add_features(tmp_path / "store", [1, 2])
    store = featurestore.open(tmp_path / "store")
    with pytest.raises(StrataError, match=rf"several structures.*c: {structure_id(1)}; d: {structure_id(2)}"):
        store.near("same")
    assert store.near("same", dataset="d").num_rows == 0


def test_a_structure_is_told_where_to_go(store):
    for structure in (bulk("Cu"), crystal(0), crystal(0).to_pymatgen(), Path("x.cif")):
        with pytest.raises(StrataError, match=r"strata\.near\(structure, store=…\)"):
            store.near(structure)
    assert len(store.near(np.zeros(vectors_of(7)["atom_8"].shape, np.float32).tolist(), 3)) == 3
