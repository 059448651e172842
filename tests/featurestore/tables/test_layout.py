import pytest

from core.errors import StrataError
from featurestore.tables.layout import PER_DATASET, PER_SOURCE, WHOLE_STORE, StoreLayout
from featurestore.tables.log import LOG
from featurestore.tables.schema import KINDS


def test_every_kind_of_table_has_a_place_of_its_own(tmp_path):
    layout = StoreLayout(tmp_path)
    assert {*PER_DATASET, *PER_SOURCE, *WHOLE_STORE} == set(KINDS)
    places = [layout.table(kind, "x") for kind in KINDS]
    assert len(set(places)) == len(places)
    for kind, place in zip(KINDS, places, strict=True):
        (place / "_log").mkdir(parents=True)
        assert layout.tables(kind) == [place]
        assert layout.kind_of(place) == kind
        assert layout.dataset_of(place) == ("x" if kind in PER_DATASET else None)
        assert layout.source_of(place) == ("x" if kind in PER_SOURCE else None)
    assert layout.models("x").parent == layout.runs("x").parent == layout.predictions("x").parent


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "", ".", "..", "x\0", "-x", "a" * 300, "x'; DROP TABLE y --"]
)
@pytest.mark.parametrize("kind", [*PER_DATASET, *PER_SOURCE])
def test_a_name_cannot_lead_elsewhere(tmp_path, kind, name):  # rows 37, 38
    with pytest.raises(StrataError, match="not a valid name"):
        StoreLayout(tmp_path).table(kind, name)


def test_a_kind_that_is_kept_per_dataset_needs_one(tmp_path):
    with pytest.raises(ValueError, match="no table"):
        StoreLayout(tmp_path).table("entries")


def test_trained_runs_lie_apart_and_are_seen_as_one(tmp_path):
    layout = StoreLayout(tmp_path)
    trained = layout.trained("runs", "alpha"), layout.trained("predictions", "beta")
    for folder in (layout.runs("alpha"), *trained):
        (folder / LOG).mkdir(parents=True)
    assert layout.tables("runs") == [layout.runs("alpha"), layout.trained("runs", "alpha")]
    assert layout.kind_of(layout.trained("predictions", "beta")) == "predictions"
    assert layout.dataset_of(layout.trained("predictions", "beta")) == "beta"
    with pytest.raises(StrataError):
        layout.trained("runs", "../x")
