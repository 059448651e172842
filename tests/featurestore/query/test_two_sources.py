"""A store with vectors by two source models, each of which lacks a structure that the other has."""

import numpy as np
import pytest

import featurestore
from core.errors import StrataError
from featurestore import Reject
from tests.stores import (
    EXTRACTION,
    OTHER,
    OTHER_EXTRACTION,
    SOURCE,
    add_dataset,
    add_features,
    add_other_features,
    structure_id,
    vectors_of,
)


def numbers(ids):
    return [int(name, 16) for name in ids]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A store with two source models: the default has vectors of all but structure 2, the other but 4."""
    root = tmp_path_factory.mktemp("both")
    add_dataset(root, "a", range(8), properties=["energy"])
    refused = {number: [Reject(structure_id(number), "too_large", "")] for number in (2, 4)}
    add_features(root, [n for n in range(8) if n != 2], rejects=refused[2])
    add_other_features(root, [n for n in range(8) if n != 4], rejects=refused[4])
    return featurestore.open(root)


def test_without_a_source_model_the_default_is_meant_and_the_answer_says_so(both):
    assert list(both.sources) == [SOURCE, OTHER]
    assert both.default_source == SOURCE
    found = both.matrix("a", "energy")
    assert found.source_model == SOURCE
    assert repr(found) == (
        "Matrix(7 entries × 768 features of synthetic (atom_bond_angle_last), targets in eV)"
    )
    assert both.matrix("a", "energy", "other/last").source_model == OTHER


def test_a_reject_of_one_source_model_takes_no_row_from_another(both):
    default, other = (both.matrix("a", "energy", name) for name in ("last", "other/last"))
    assert numbers(default.structure_ids) == [0, 1, 3, 4, 5, 6, 7]
    assert numbers(other.structure_ids) == [0, 1, 2, 3, 5, 6, 7]
    assert other.X.shape == (7, 14)
    joined = both.matrix("a", "energy", "atom_8+other/pair_1")
    assert numbers(joined.structure_ids) == [0, 1, 3, 5, 6, 7]


def test_a_set_over_two_source_models_has_their_columns_side_by_side(both):
    found = both.matrix("a", "energy", "atom_8+other/site_2+other/pair_1")
    assert [(b.source, b.checkpoint, b.start, b.stop) for b in found.blocks] == [
        (SOURCE, "atom_8", 0, 256),
        (OTHER, "site_2", 256, 264),
        (OTHER, "pair_1", 264, 270),
    ]
    assert found.names == ("synthetic/atom_8", "other/site_2", "other/pair_1")
    for number, x in zip(numbers(found.structure_ids), found.X, strict=True):
        ours, theirs = vectors_of(number), vectors_of(number, source=OTHER)
        assert np.array_equal(x, np.concatenate([ours["atom_8"], theirs["site_2"], theirs["pair_1"]]))
    assert found.source_model == "synthetic+other"
    assert found.extraction_id == f"{EXTRACTION}+{OTHER_EXTRACTION}"


def test_what_one_source_model_lacks_is_not_missing_in_another(both):
    assert numbers(both.missing(EXTRACTION)["structure_id"].to_pylist()) == []
    assert numbers(both.missing(OTHER_EXTRACTION)["structure_id"].to_pylist()) == []
    assert numbers(both.all_vectors("other/pair_0")[0].to_pylist()) == [0, 1, 2, 3, 5, 6, 7]
    assert sorted(numbers(both.all_vectors("atom_0+other/pair_0")[0].to_pylist())) == [0, 1, 3, 5, 6, 7]


def test_chosen_blocks_become_a_view(both):
    both.join("atom_8+other/pair_1")
    view = both.sql("FROM chosen ORDER BY structure_id")
    assert view.columns == ["structure_id", "synthetic__atom_8", "other__pair_1"]
    rows = {numbers([row[0]])[0]: row[1:] for row in view.fetchall()}
    assert [number for number, row in rows.items() if row[0] is None] == [2]
    assert [number for number, row in rows.items() if row[1] is None] == [4]
    assert np.array_equal(np.float32(rows[3][1]), vectors_of(3, source=OTHER)["pair_1"])
    both.join("other/site_0", "mine")
    assert both.sql("FROM mine").columns == ["structure_id", "other__site_0"]
    with pytest.raises(StrataError, match="not a valid name"):
        both.join("last", "a; DROP VIEW b")


def test_an_unknown_source_model_names_the_nearest(both):
    for ask in (lambda: both.matrix("a", "energy", "othre/last"), lambda: both.need_source("othre")):
        with pytest.raises(StrataError, match=r"unknown source model 'othre'.*did you mean 'other'"):
            ask()


def test_neighbours_by_another_source_model(both):
    found = both.near("a-2", 3, "other/pair_1")
    assert found.num_rows == 3
    with pytest.raises(StrataError, match="no vectors by synthetic"):
        both.near("a-2", 3)
