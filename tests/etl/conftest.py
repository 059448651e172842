import pytest

from etl import cards
from tests.published import crystal


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with params.yaml, and beside it a stranger's folder of CIFs and a CSV."""
    monkeypatch.delenv(cards.CARDS_VARIABLE, raising=False)
    data = tmp_path / "their data"
    data.mkdir()
    for row in range(3):
        crystal(row).to_pymatgen().to(filename=str(data / f"c{row}.cif"), fmt="cif")
    (data / "id_prop.csv").write_text("c0.cif,0.5,10\nc1.cif,na,20\nc2.cif,1.5,30\n")
    here = tmp_path / "project"
    here.mkdir()
    (here / "params.yaml").write_text("# mine\ndatasets: [ase_elements]  # all\n\nsplit:\n  seeds: [3]\n")
    monkeypatch.chdir(here)
    return here, data
