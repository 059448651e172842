"""What `dvc repro` does again, and what it does not; the tests build on each other, in this order."""

import contextlib
import io
import re

import featurestore
from featurestore.tables.log import snapshot
from tests.conftest import ROOT


def started(output: str) -> list[str]:
    """Return the names of the stages that DVC ran."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def runs(project) -> dict[str, tuple]:
    """Return run_id → (head, dataset, property, created_at) of every run in the store."""
    query = "SELECT DISTINCT run_id, head, dataset, property, created_at FROM runs"
    store = featurestore.open(project.root / "store")
    return {run_id: rest for run_id, *rest in store.sql(query).fetchall()}


def extracted(project) -> dict[str, int]:
    """Return the committed feature shards and their rows."""
    return {shard.path: shard.rows for shard in snapshot(project.root / "store" / "features").shards}


def test_first_run_makes_every_output(project):
    assert sum(extracted(project).values()) == 71
    for path in ("metrics.json", "plots/parity.csv", "plots/scores.csv", "report/index.html"):
        assert (project.root / path).stat().st_size > 0
    assert {head for head, *_ in runs(project).values()} == {"mean", "ridge"}


def test_readme_example_runs(project, monkeypatch):
    (example,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(example.splitlines()) == 5
    monkeypatch.chdir(project.root)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, "README.md", "exec"), {})
    assert printed.getvalue().startswith("(71, 768) GPa\n")


def test_second_run_does_nothing(project):
    assert started(project.repro()) == []


def test_one_changed_head_is_the_only_one_fitted_again(project):
    before = runs(project)
    project.configure(heads={"ridge": {"alphas": [1.0, 10.0]}})
    assert "fit@ase_elements" in started(project.repro())
    after = runs(project)
    assert before.items() <= after.items()  # what stood is untouched, its time of creation too
    new = [after[run_id] for run_id in after.keys() - before.keys()]
    assert {head for head, *_ in new} == {"ridge"}
    assert len(new) == len({prop for _, _, prop, _ in new}) == 3


def test_an_added_dataset_extracts_only_its_new_structures(project):
    before_shards, before_runs = extracted(project), runs(project)
    project.configure(datasets=["ase_elements", "ase_g2"])
    stages = started(project.repro())
    assert {"ingest@ase_g2", "extract", "split@ase_g2", "fit@ase_g2", "evaluate", "report"} <= set(stages)
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
