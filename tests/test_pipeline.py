"""What `dvc repro` does again, and what it does not; the tests build on each other, in this order."""

import contextlib
import dataclasses
import io
import re
import shutil

import pytest
import yaml

import featurestore
from core.params import Extract
from featurestore import StoreLayout
from featurestore.tables.log import snapshot
from tests.conftest import ROOT
from zoo.hub import MODELS, MODELS_VARIABLE, WEIGHTS

SOURCE_MODEL = "alignn_mp_eform"


def started(output: str) -> list[str]:
    """Return the names of the stages that DVC ran."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def runs(project) -> dict[str, tuple]:
    """Return run_id → (head, dataset, property, created_at) of every run in the store."""
    query = "SELECT DISTINCT run_id, head, dataset, property, created_at FROM runs"
    store = featurestore.open(project.root / "store")
    return {run_id: rest for run_id, *rest in store.sql(query).fetchall()}


def extracted(project, source_model=SOURCE_MODEL) -> dict[str, int]:
    """Return the committed feature shards of a source model and their rows."""
    folder = StoreLayout(project.root / "store").features(source_model)
    return {shard.path: shard.rows for shard in snapshot(folder).shards}


def written(project, source_model=SOURCE_MODEL) -> dict[str, int]:
    """Return every file of a source model's tables, and when it was written."""
    layout = StoreLayout(project.root / "store")
    folders = layout.features(source_model), layout.extractions(source_model)
    return {
        str(path): path.stat().st_mtime_ns
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


def extract_by(*source_models):
    """Return the section `extract` for these source models, the default first."""
    return Extract(source_models=source_models).model_dump(mode="json")


def own_model(folder, name):
    """Put a card of one's own into a folder: the built-in weights, over graphs of fewer neighbours."""
    card = yaml.safe_load((MODELS / f"{SOURCE_MODEL}.yaml").read_text(encoding="utf-8"))
    card |= {"name": name, "graph": card["graph"] | {"max_neighbours": 6}}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    shutil.copy(WEIGHTS / card["weights"], folder)


def test_first_run_makes_every_output(project):
    assert sum(extracted(project).values()) == 71
    for path in ("metrics.json", "plots/parity.csv", "plots/scores.csv", "report/index.html"):
        assert (project.root / path).stat().st_size > 0
    assert {head for head, *_ in runs(project).values()} == {"mean", "ridge"}


def run_examples(project, monkeypatch, document: str) -> str:
    """Run the Python of a document, its blocks after one another, and return what it printed."""
    examples = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(project.root)
    printed, names = io.StringIO(), {}
    with contextlib.redirect_stdout(printed):
        for example in examples:
            exec(compile(example, document, "exec"), names)
    return printed.getvalue()


def test_readme_examples_run(project, monkeypatch):
    printed = run_examples(project, monkeypatch, "README.md")
    error, copper, *more = printed.splitlines()
    nearest, predicted = more[:4], more[4:]
    assert re.fullmatch(r"\(64, 768\) mean absolute error \d+\.\d GPa", error)
    assert copper == "Cu (1, 768)"
    assert nearest[1].split()[-1] == "Cu4"
    named = [name for name in ("copper", "brass") if any(name in line for line in predicted)]
    assert named == ["copper", "brass"]
    assert "in_training" in "".join(predicted)


def test_examples_of_predictions_run(project, monkeypatch):
    printed = run_examples(project, monkeypatch, "docs/predict.md")
    assert "radon" in printed
    assert "the information sits that the model uses, not what causes the property" in printed
    assert printed.endswith("Å³/atom\n")


def test_examples_of_python_run(project, monkeypatch):
    printed = run_examples(project, monkeypatch, "docs/python.md")
    assert "Matrix(64 entries × 768 features" in printed
    assert "(1, 768) (0, 'mine') ('Cu', 'Al') (2, 256)" in printed
    assert "['atom_8_0' 'atom_8_1']" in printed
    assert printed.endswith("alignn_mp_eform/atom_8\nAl4\n")


def test_second_run_does_nothing(project):
    assert started(project.repro()) == []


def test_one_changed_head_is_the_only_one_fitted_again(project):
    before = runs(project)
    project.configure(heads={"ridge": {"alphas": [1.0, 10.0]}})
    assert "fit@ase_elements" in started(project.dvc("repro", "fit"))
    after = runs(project)
    assert before.items() <= after.items()  # what stood is untouched, its time of creation too
    new = [after[run_id] for run_id in after.keys() - before.keys()]
    assert {head for head, *_ in new} == {"ridge"}
    assert len(new) == len({prop for _, _, prop, _ in new}) == 3


@pytest.mark.slow
def test_an_added_dataset_extracts_only_its_new_structures(project):
    before_shards, before_runs = extracted(project), runs(project)
    project.configure(datasets=["ase_elements", "ase_g2"])
    stages = started(project.repro())
    assert {
        "ingest@ase_g2",
        f"extract@{SOURCE_MODEL}",
        "split@ase_g2",
        "fit@ase_g2",
        "evaluate",
        "report",
    } <= set(stages)
    assert "ingest@ase_elements" not in stages

    after_shards = extracted(project)
    assert before_shards.items() <= after_shards.items()
    store = featurestore.open(project.root / "store")
    ((structures,),) = store.sql("SELECT count(*) FROM structures").fetchall()
    assert sum(after_shards.values()) == structures  # each once: none was extracted again

    after_runs = runs(project)
    assert before_runs.items() <= after_runs.items()
    new = after_runs.keys() - before_runs.keys()
    assert {after_runs[run_id][1] for run_id in new} == {"ase_g2"}


@pytest.mark.slow
def test_an_added_network_runs_its_own_extract_alone(project, tmp_path):
    own_model(tmp_path, "nearer")
    aware = dataclasses.replace(project, environment=project.environment | {MODELS_VARIABLE: str(tmp_path)})
    before_files, before_runs = written(project), runs(project)
    aware.configure(extract=extract_by(SOURCE_MODEL, "nearer"))
    stages = started(aware.repro())
    assert [name for name in stages if name.startswith("extract")] == ["extract@nearer"]
    assert {"fit@ase_elements", "fit@ase_g2"} <= set(stages)  # the vectors that they may read are others now
    assert not [name for name in stages if name.partition("@")[0] in ("ingest", "split", "finetune")]
    assert written(project) == before_files
    assert sum(extracted(project, "nearer").values()) == sum(extracted(project).values())
    store = featurestore.open(project.root / "store")
    assert list(store.sources) == [SOURCE_MODEL, "nearer"]
    one, other = (store.matrix("ase_elements", "volume", name) for name in ("last", "nearer/last"))
    assert one.X.shape == other.X.shape
    assert (one.X != other.X).any()
    assert runs(project) == before_runs  # nothing asks for the new vectors yet
    assert started(aware.repro()) == []


@pytest.mark.slow
def test_another_default_is_seen_by_all_that_mean_it(project, tmp_path):
    own_model(tmp_path, "nearer")
    aware = dataclasses.replace(project, environment=project.environment | {MODELS_VARIABLE: str(tmp_path)})
    aware.configure(extract=extract_by("nearer", SOURCE_MODEL))
    changed = re.findall(r"^(\S+):$", aware.dvc("status"), re.MULTILINE)
    assert {f"extract@{SOURCE_MODEL}", "extract@nearer", "fit@ase_g2", "finetune@ase_g2"} <= set(changed)
    assert not [name for name in changed if name.partition("@")[0] in ("ingest", "split")]
    for default, other in (("nearer", SOURCE_MODEL), (SOURCE_MODEL, "nearer")):
        aware.configure(extract=extract_by(default))  # the other is no longer asked for at all
        aware.dvc("repro", f"extract@{default}")
        sources = featurestore.open(project.root / "store").sources
        assert {name: source.is_default for name, source in sources.items()} == {default: True, other: False}
    project.configure(extract=extract_by(SOURCE_MODEL, "nearer"))
