import pytest
from typer.testing import CliRunner

from etl.cli import app


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


def test_list_of_datasets():
    text = call("datasets", "list")
    for name in ("ase_elements", "emt_alloys", "megnet"):
        assert name in text


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("emt_alloys", ["EMT values, made for demonstration", "GPa", "630"]),
        ("jarvis_3d", ["jdft_3d-12-12-2022.json.zip", "Deltae", "µV/K", "doi:10.1038"]),
    ],
)
def test_one_dataset_explained(name, parts):
    text = " ".join(call("datasets", "show", name).split())
    for part in parts:
        assert part in text
