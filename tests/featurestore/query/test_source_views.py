import numpy as np
import pytest

import featurestore
from featurestore import Reject
from tests.stores import (
    CHECKPOINTS,
    EXTRACTION,
    MODELS,
    OTHER,
    OTHER_EXTRACTION,
    SOURCE,
    add_dataset,
    add_features,
    add_other_features,
    structure_id,
    vectors_of,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two source models; structure 3 has vectors by the default alone, structure 9 by the other alone."""
    root = tmp_path_factory.mktemp("views")
    add_dataset(root, "a", range(10))
    add_features(root, range(9), rejects=[Reject(structure_id(9), "too_large", "")])
    add_other_features(root, [n for n in range(10) if n != 3], rejects=[Reject(structure_id(3), "few", "")])
    return featurestore.open(root)


def columns(store, view):
    found = store.sql(f'FROM "{view}"')
    return dict(zip(found.columns, map(str, found.types), strict=True))


def test_each_source_model_has_a_wide_view_of_its_own(store):
    assert columns(store, "features") == columns(store, "features_synthetic")
    assert {columns(store, "features")[checkpoint.name] for checkpoint in CHECKPOINTS} == {"FLOAT[256]"}
    theirs = columns(store, "features_other")
    assert list(theirs) == [
        "structure_id", "extraction_id", "source_model", "n_pairs", "prediction",
        "site_0", "site_1", "site_2", "pair_0", "pair_1",
    ]  # fmt: skip
    assert [theirs[name] for name in ("site_0", "site_2", "pair_1")] == ["FLOAT[4]", "FLOAT[8]", "FLOAT[6]"]


def test_the_view_without_a_name_is_the_defaults(store):
    assert store.sql("SELECT DISTINCT source_model FROM features").fetchall() == [(SOURCE,)]
    assert store.sql("SELECT count(*) FROM features").fetchall() == [(9,)]
    assert store.sql("SELECT count(*) FROM features_other").fetchall() == [(9,)]


def test_the_long_view_is_over_all(store):
    counts = store.sql("SELECT source_model, count(*) FROM vectors GROUP BY 1 ORDER BY 1").fetchall()
    assert counts == [(OTHER, 9 * 5), (SOURCE, 9 * 23)]
    [(vector, kind, depth, extraction)] = store.sql(
        "SELECT vector, kind, depth, extraction_id FROM vectors WHERE source_model = ? AND checkpoint = ? "
        "AND structure_id = ?",
        [OTHER, "site_2", structure_id(4)],
    ).fetchall()
    assert np.array_equal(np.float32(vector), vectors_of(4, source=OTHER)["site_2"])
    assert (kind, depth, extraction) == ("site", 2, OTHER_EXTRACTION)


def test_the_joined_view_has_the_deepest_of_each_and_keeps_what_one_lacks(store):
    assert list(columns(store, "joined")) == [
        "structure_id",
        *(f"synthetic__{name}" for name in ("atom_8", "bond_8", "angle_4")),
        *(f"other__{name}" for name in ("site_2", "pair_1")),
    ]
    found = store.sql(
        "SELECT structure_id, synthetic__atom_8 IS NULL, other__pair_1 IS NULL FROM joined ORDER BY 1"
    ).fetchall()
    assert [row[1:] for row in found] == [(n == 9, n == 3) for n in range(10)]


def test_checkpoints_are_listed(store):
    found = store.sql("FROM checkpoints").fetchall()
    assert found == [(source, *checkpoint) for source in (SOURCE, OTHER) for checkpoint in MODELS[source][1]]


def test_source_models_and_extractions_say_which_is_meant(store):
    assert store.sql(
        "SELECT source_model, is_default, backbone, checkpoints FROM source_models"
    ).fetchall() == [
        (SOURCE, True, "alignn", 23),
        (OTHER, False, "alignn", 5),
    ]
    assert store.sql("SELECT extraction_id, is_default, is_current FROM extractions").fetchall() == [
        (EXTRACTION, True, True),
        (OTHER_EXTRACTION, False, True),
    ]


def test_rejects_are_told_by_source_model(store):
    found = store.sql("SELECT source_model, extracted, rejected, missing FROM coverage ORDER BY 1").fetchall()
    assert found == [(OTHER, 9, 1, 0), (SOURCE, 9, 1, 0)]


def test_only_the_current_extraction_is_joined(tmp_path):
    add_features(tmp_path, range(3), "earlier", seed=1)
    add_features(tmp_path, range(3))
    store = featurestore.open(tmp_path)
    rows = store.sql("SELECT synthetic__atom_8 FROM joined ORDER BY structure_id").fetchall()
    assert np.array_equal(np.float32(rows[2][0]), vectors_of(2)["atom_8"])
    assert len(rows) == 3
    assert store.sql("SELECT count(*) FROM features").fetchall() == [(6,)]
