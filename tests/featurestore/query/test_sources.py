import shutil

import pytest

import featurestore
from core.errors import StrataError
from featurestore.query.sources import read_sources
from featurestore.tables.layout import StoreLayout
from featurestore.tables.log import snapshot
from tests.stores import (
    COUNTS,
    EXTRACTION,
    MODELS,
    OTHER,
    OTHER_EXTRACTION,
    SOURCE,
    add_other_features,
    describe,
    features,
)


def test_the_default_comes_first_then_the_others_by_name(tmp_path):
    describe(tmp_path)
    add_other_features(tmp_path, [1])
    layout = StoreLayout(tmp_path)
    found = read_sources(snapshot(folder) for folder in layout.tables("extractions"))
    assert list(found) == [SOURCE, OTHER]
    assert [source.is_default for source in found.values()] == [True, False]
    assert found[SOURCE].extraction_id == EXTRACTION
    assert (found[SOURCE].counts, found[SOURCE].backbone) == (COUNTS, "alignn")
    assert found[OTHER].extraction_id == OTHER_EXTRACTION
    assert found[OTHER].checkpoints == MODELS[OTHER][1]


def test_a_source_model_knows_the_columns_of_its_table(tmp_path):
    for source in (SOURCE, OTHER):
        describe(tmp_path, source=source)
        (found,) = read_sources([snapshot(StoreLayout(tmp_path).extractions(source))]).values()
        assert found.schema == features([1], source=source).schema


def test_a_store_of_the_older_layout_says_how_it_is_brought_up_to_date(store_root):
    shutil.copytree(store_root / "features" / SOURCE / "_log", store_root / "features" / "_log")
    with pytest.raises(StrataError, match=r"earlier version.*strata store migrate"):
        featurestore.open(store_root)
