from pathlib import Path

import pytest

from core.errors import StrataError
from featurestore.tables.address import address, located, parts_of, readable
from featurestore.tables.layout import StoreLayout


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STRATA_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "text", ["s3://vectors/team/store", "s3:/vectors/team/store", "s3://vectors/team/store/"]
)
def test_an_address_has_a_folder_that_leads_back_to_it(text, tmp_path):
    folder = located(text)
    assert folder.is_relative_to(tmp_path / "cache")
    assert address(folder) == "s3://vectors/team/store"
    assert parts_of(folder / "scores" / "x") == ("s3", "vectors", "team/store/scores/x")
    assert located(folder) == folder  # what stands for an address already stays so
    assert StoreLayout(Path(text)).scores == folder / "scores"
    assert not folder.exists()


def test_a_folder_of_this_machine_stands_for_itself(tmp_path):
    assert located(tmp_path) == tmp_path
    assert parts_of(tmp_path) is None
    assert address(tmp_path) == str(tmp_path)


def test_a_link_stands_for_what_it_leads_to():
    root = located("s3://vectors/store")
    link = root / "experiments" / "one" / "features"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../features")
    assert address(link / "mine") == "s3://vectors/store/features/mine"


def test_a_message_names_addresses():
    assert readable(f"{located('s3://vectors/store')}/x is missing") == "s3://vectors/store/x is missing"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("s3://Vectors/store", "not the name of a bucket"),
        ("s3://ab/store", "not the name of a bucket"),
        ("s3://a..b/store", "not the name of a bucket"),
        ("s3://vectors/../other", "not a valid name"),
        ("s3://vectors/a//b", "not a valid name"),
        ("s3://vectors/.hidden", "not a valid name"),
        ("s3://key:secret@vectors/store", "come from the environment"),
        ("s3://vectors/store?region=x", "come from the environment"),
        ("gs://", "not the name of a bucket"),
    ],
)
def test_other_names_are_refused(text, says):
    with pytest.raises(StrataError, match=says) as caught:
        located(text)
    assert "secret" not in str(caught.value)
