"""`strata explore`, and the pages of `strata predict` and `strata screen`."""

import json

import pytest
import yaml
from typer.testing import CliRunner

import strata
from core.errors import StrataError
from evaluation.explorer.pack import as_json
from tests.models import FOLDED, stand_in, write_files
from zoo.model import Model


@pytest.fixture
def project(tmp_path, monkeypatch, chosen):
    """A folder with params.yaml and the store; the work goes on in it."""
    monkeypatch.chdir(tmp_path)
    stand_in(monkeypatch)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(FOLDED.model_dump(mode="json")), encoding="utf-8")
    (tmp_path / "store").symlink_to(chosen)
    return tmp_path


def call(*words):
    return CliRunner().invoke(
        strata.command(), list(map(str, words)), catch_exceptions=False, env={"COLUMNS": "200"}
    )


def header_of(path):
    text = path.read_text(encoding="utf-8")
    start = text.index('id="header">') + len('id="header">')
    return json.loads(text[start : text.index("</script>", start)])


def test_explore_writes_a_page_and_chemiscopes_format(project):
    done = call(
        "explore", "--dataset", "alpha", "--property", "energy", "--json", "map.json", "-o", "map.html"
    )
    assert done.exit_code == 0
    assert "map.html: a page of 40 structures" in done.stdout
    assert "40 structures are predicted" in done.stderr
    header = header_of(project / "map.html")
    assert header["colour"] == "energy, prediction"
    assert header["n"] == 40
    assert json.loads((project / "map.json").read_text(encoding="utf-8"))["meta"]["name"].startswith("alpha")


def test_chemiscopes_format_alone_makes_no_page(project):
    assert call("explore", "--dataset", "beta", "--json", "map.json").exit_code == 0
    assert not (project / "map.html").exists()


def test_what_cannot_be_written_stops_before_the_work(project, monkeypatch):
    monkeypatch.setattr("evaluation.explorer.build.store_map", lambda *_, **__: pytest.fail("it was made"))
    with pytest.raises(StrataError, match=r"ends in \.html"):
        call("explore", "-o", "map.csv")
    with pytest.raises(StrataError, match=r"\.json or"):
        call("explore", "--json", "map.csv")


def test_explore_from_python_shows_itself_in_a_notebook(project):
    found = strata.explore("store", "alpha", ["energy", "gap"], shares=0)
    assert repr(found).startswith("Explorer('alpha: 40 structures'")
    shown = found._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert 'sandbox="allow-scripts allow-downloads"' in shown
    assert "<script" not in shown
    assert found.save("here.html").stat().st_size > 3e6
    assert len(json.loads(found.chemiscope().value)["structures"]) == 40


def test_predict_writes_a_page_beside_a_table(project):
    files = write_files(project)
    done = call(
        "predict", *files, "gone.cif", "--model", "alpha/energy", "-o", "found.csv", "-o", "found.html"
    )
    assert done.exit_code == 1  # one is not there
    assert "found.csv: 4 rows" in done.stdout
    header = header_of(project / "found.html")
    assert header["n"] == 3 + 36  # and the training rows
    assert header["listed"][:3] == ["role", "energy, prediction", "energy"]
    assert header["k"] == 3
    text = (project / "found.html").read_text(encoding="utf-8")
    assert "1 could not be used" in text
    assert "gone.cif cannot be read" in text


def test_where_nothing_was_predicted_there_is_no_page(project):
    done = call("predict", "gone.cif", "--model", "alpha/energy", "-o", "found.html")
    assert done.exit_code == 1
    assert "found.html is not written" in done.stderr
    assert not (project / "found.html").exists()


def test_screen_writes_a_page_of_all_that_were_ranked(project, monkeypatch):
    monkeypatch.setattr(Model, "check_sources", lambda self: None)
    words = ("screen", "--model", "alpha/energy", "--over", "beta", "--minimum", "0", "--top", "2")
    done = call(*words, "-o", "best.html")
    assert done.exit_code == 0
    header = header_of(project / "best.html")
    assert header["n"] == 20
    assert header["colour"] == "chance"
    assert header["listed"][0] == "rank"
    assert "Ranked by the chance that energy lies above 0 eV." in (project / "best.html").read_text("utf-8")
    with pytest.raises(StrataError, match="widen the window"):
        call(*words, "--where", "n_atoms > 99", "-o", "none.html")


def test_two_pages_are_refused(project):
    with pytest.raises(StrataError, match="one table and one page"):
        call("predict", "a.cif", "--model", "alpha/energy", "-o", "a.html", "-o", "b.html")


def test_json_in_a_page_cannot_end_its_element():
    assert "<" not in as_json({"a": "</script><!--"})
