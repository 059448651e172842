import duckdb
import numpy as np
import pyarrow as pa
import pytest

import featurestore
from core.errors import StrataError
from featurestore.query.reader import answering
from tests.stores import OTHER, add_features, add_other_features, structure_id, vectors_of


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("reader")
    add_features(root, range(40))
    add_other_features(root, range(20, 60))
    return featurestore.open(root)


def test_vectors_of_two_source_models_lie_side_by_side_as_asked(store):
    asked = [structure_id(number) for number in (33, 21, 33)]
    found = store._reader.vectors(pa.array(asked), store.feature_set("other/pair_0+angle_2"))
    assert (found.dtype, found.shape) == (np.float32, (3, 6 + 256))
    for number, row in zip((33, 21, 33), found, strict=True):
        assert np.array_equal(row[:6], vectors_of(number, source=OTHER)["pair_0"])
        assert np.array_equal(row[6:], vectors_of(number)["angle_2"])


def test_a_set_over_two_source_models_has_the_structures_of_both(store):
    counts = [
        len(store._reader.ids(store.feature_set(name))) for name in ("last", "other/last", "last+other/last")
    ]
    assert counts == [40, 40, 20]


def test_who_lacks_a_vector_is_named(store):
    with pytest.raises(StrataError, match=r"1 structures have no vectors by other .*strata extract other"):
        store.vectors([structure_id(3)], "atom_0+other/pair_0")
    with pytest.raises(StrataError, match="1 structures have no vectors by synthetic"):
        store.vectors([structure_id(50)], "atom_0+other/pair_0")


def test_errors_of_duckdb_are_told_in_our_words():
    with pytest.raises(StrataError, match="DuckDB: Parser Error"), answering():
        duckdb.connect().execute("SELEKT 1")
    with pytest.raises(StrataError, match="strata store verify"), answering():
        raise duckdb.IOException("cannot read")
