import pytest

import featurestore
from core.errors import StrataError
from core.params import load
from etl.own_data import ingest
from tests.etl_commands import call

WORDS = ("--property", "gap", "--property", "K", "--unit", "eV")


def test_a_dataset_of_ones_own_leaves_the_project(project):
    here, data = project
    call("ingest", data, "--name", "mine", *WORDS)
    call("ingest", data, "--name", "other", *WORDS)
    params = (here / "params.yaml").read_text()
    (here / "params.yaml").write_text(f"{params}fit:\n  properties: {{mine: [gap]}}\n")
    text = call("datasets", "remove", "mine")
    for words in (
        "removed etl/datasets/mine.yaml",
        "taken out of datasets in params.yaml",
        "5 of targets, ",
        "your own files; vectors",
        "still names it under fit.properties: take it out",
        "dvc repro",
    ):
        assert words in text
    assert load().datasets == ("ase_elements", "other")
    assert sorted(path.name for path in (here / "etl/datasets").iterdir()) == ["other.yaml"]
    assert (data / "id_prop.csv").exists()
    store = featurestore.open("store")
    assert store.datasets() == ["other"]
    for table, count in (("entries", 3), ("targets", 5), ("datasets", 1)):
        assert store.sql(f"SELECT count(*) FROM {table}").fetchall() == [(count,)]
    with pytest.raises(StrataError, match="unknown dataset 'mine'"):
        call("ingest", "mine")
    call("ingest", data, "--name", "mine", *WORDS)  # and back
    assert featurestore.open("store").datasets() == ["mine", "other"]


def test_the_frame_beside_the_card_goes_with_it(project):
    pd = pytest.importorskip("pandas")
    ingest(pd.DataFrame({"formula": ["TiO2"], "gap": [1.0]}), "mine", {"gap": "eV"}, origin="measured")
    call("datasets", "remove", "mine")
    assert not list((project[0] / "etl/datasets").iterdir())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ase_elements", "ase_elements comes with Strata .*take it out of `datasets` in params.yaml"),
        ("../etl", "not a valid name"),
        ("nothing", "unknown dataset 'nothing' in your own datasets"),
    ],
)
def test_what_is_not_removed(project, name, words):
    here, _ = project
    before = (here / "params.yaml").read_text()
    with pytest.raises(StrataError, match=words):
        call("datasets", "remove", name)
    assert (here / "params.yaml").read_text() == before
