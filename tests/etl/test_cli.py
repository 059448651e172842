import pytest
from typer.testing import CliRunner

from core import download, source
from core.atomic import sha256_file
from core.errors import StrataError
from etl.cli import app
from tests import published
from tests.two_datasets import ingested


def call(*words):
    result = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_ingest_prints_its_report_and_fills_the_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("datasets: [ase_elements]\n")
    assert "ase_elements: 71 entries, 71 unique structures, 0 rejects" in call("ingest", "ase_elements")
    assert list((tmp_path / "store" / "entries" / "ase_elements").glob("*.parquet"))


@pytest.mark.parametrize("words", [("datasets", "list"), ("datasets",)])
def test_list_of_datasets(words):
    text = call(*words)
    for name in ("ase_elements", "emt_alloys", "megnet"):
        assert name in text


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("emt_alloys", ["EMT values, made for demonstration", "GPa", "630"]),
        ("jarvis_3d", ["jdft_3d-8-18-2021.json.zip", "Deltae", "µV/K", "doi:10.1038", "dft_3d_2022"]),
        ("jarvis_2d", ["component(value, 1, 2)", "ETC12", "(inferred)"]),
        ("expt_gap_kingsbury", ["structures by id from: megnet-mp-2019-04-01.json.zip, megnet.json.zip"]),
    ],
)
def test_one_dataset_explained(name, parts):
    text = " ".join(call("datasets", "show", name).split())
    for part in parts:
        assert part in text


def test_fetch_says_licence_and_citation_and_where_the_file_lies(tmp_path, monkeypatch):
    published.megnet(tmp_path / "megnet.json.zip")
    sha256 = sha256_file(tmp_path / "megnet.json.zip")
    (tmp_path / source.LOCK).write_text(f"{sha256}  megnet.json.zip\n")
    monkeypatch.setenv(source.RAW_VARIABLE, str(tmp_path))
    monkeypatch.setenv(download.OFFLINE_VARIABLE, "1")
    text = call("fetch", "megnet", "ase_g2")
    for part in ("CC-BY-4.0", "Chemistry of Materials 31", str(tmp_path), sha256, "ase_g2: needs no file"):
        assert part in text
    with pytest.raises(StrataError, match=r"jdft_3d-12-12-2022\.json\.zip is in none of"):
        call("fetch", "jarvis_3d", "--version", "dft_3d_2022")
    with pytest.raises(StrataError, match="did you mean 'megnet'"):
        call("fetch", "megnt")


def test_duplicates(tmp_path, monkeypatch):
    store = ingested(tmp_path, monkeypatch)
    monkeypatch.chdir(store.parent)
    assert "6 structures are 5 crystals" in call("datasets", "duplicates")
