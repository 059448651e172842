import pytest
from typer.testing import CliRunner

import strata
from core.errors import StrataError
from core.params import load, parse
from featurestore import StoreLayout, current
from featurestore.listed import with_rows
from tests.two_datasets import ingested


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Two datasets in a store, and a third one listed beside them that nobody has ingested."""
    root = ingested(tmp_path, monkeypatch)
    monkeypatch.chdir(root.parent)
    names = sorted(path.name for path in (root / "entries").iterdir() if not path.name.startswith("."))
    (root.parent / "params.yaml").write_text(
        f"datasets: [{', '.join(names)}, gone]\n"
        "extract: {source_models: [magpie], workers: 0}\n"
        "split: {schemes: [random_rows]}\n"
        "fit: {heads: [mean, ridge], feature_sets: [magpie/all], composition: null, workers: 0}\n"
        "heads: {ridge: {alphas: [1]}}\n"
    )
    return root, names


def run(*words):
    found = CliRunner().invoke(strata.command(), words, env={"COLUMNS": "200"})
    if found.exception and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.output


def test_a_listed_dataset_without_entries_does_not_block_the_others(here):
    root, names = here
    said = "gone has no entries in the store and is left out; strata ingest gone reads it"
    assert said in run("extract")
    for stage in ("split", "fit", "finetune"):
        assert said in run(stage, "gone")
    layout = StoreLayout(root)
    assert current.read(layout.runs("gone")) == set()
    for folder in (layout.splits("gone"), layout.predictions("gone"), layout.trained("runs", "gone")):
        assert folder.is_dir()  # what DVC expects of the stage
    assert list((root.parent / "plots/training/gone").iterdir())
    params, left_out = with_rows(load(), root)
    assert (list(params.datasets), len(left_out)) == (names, 1)


def test_none_that_has_any_is_an_error(here):
    root, _ = here
    with pytest.raises(StrataError, match="gone has no entries"):
        with_rows(parse({"datasets": ["gone"]}), root)


def test_a_name_that_is_not_listed_is_still_unknown(here):
    with pytest.raises(StrataError, match="gonn"):
        run("split", "gonn")
