import gzip
import json
import math
import sys

import chemiscope
import numpy as np
import pytest

from core.errors import StrataError
from evaluation.explorer.chemiscope_file import check_path, write_chemiscope


def test_chemiscope_reads_what_is_written(mapped, tmp_path):
    path = check_path(tmp_path / "map.json.gz")
    write_chemiscope(mapped, path)
    widget = chemiscope.show_input(str(path))
    found = json.loads(widget.value)
    assert len(found["structures"]) == 50
    with gzip.open(path, "rt") as file:
        whole = json.load(file)
    assert whole["meta"]["name"] == mapped.title
    energy = whole["properties"]["alpha/energy (eV)"]
    assert energy["units"] == "eV"
    np.testing.assert_allclose(energy["values"][:5], mapped.column("alpha/energy").values[:5])
    assert math.isnan(energy["values"][49])
    assert whole["structures"][3]["size"] == 1
    assert whole["properties"]["alpha/energy, domain"]["values"][0] in {"inside", "edge", "outside"}
    axes = whole["settings"]["map"]
    assert {axes[name]["property"] for name in ("x", "y", "color")} <= whole["properties"].keys()


@pytest.mark.parametrize(
    ("name", "message"), [("map.txt", ".json or .json.gz"), ("no/map.json", "no folder")]
)
def test_another_file_is_refused(tmp_path, name, message):
    with pytest.raises(StrataError, match=message):
        check_path(tmp_path / name)


def test_without_chemiscope_the_install_line_is_named(mapped, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "chemiscope", None)
    with pytest.raises(StrataError, match=r"pip install 'strata\[explore\]'"):
        write_chemiscope(mapped, tmp_path / "map.json")
