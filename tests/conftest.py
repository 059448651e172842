"""Fixtures that several rooms' tests share."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

from core.params import Params
from tests.object_store import ObjectStore

# No test times anything: an example may take as long as a busy machine needs for it.
settings.register_profile("strata", deadline=None)
settings.load_profile("strata")

ROOT = Path(__file__).parents[1]


LONGEST = ("test_pipeline.py", "test_workers.py", "test_train.py", "test_fit.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that at the end no process waits for another."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@dataclass(frozen=True)
class Project:
    """A copy of the repository in which the pipeline can be run, with settings of its own."""

    root: Path
    environment: dict[str, str]

    def configure(self, **sections: Any) -> None:
        """Write these sections into `params.yaml`; the others stay, by default at their defaults."""
        file = self.root / "params.yaml"
        params = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else _defaults()
        file.write_text(yaml.safe_dump(params | sections), encoding="utf-8")

    def repro(self) -> str:
        """Run `dvc repro` and return what it printed; fails with the output where a stage does."""
        return self.dvc("repro")

    def dvc(self, *arguments: str) -> str:
        """Run a command of DVC and return what it printed; fails with the output where it does."""
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


def _defaults() -> dict[str, Any]:
    return Params().model_dump(mode="json")


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Project:
    """A project whose pipeline has run once: `ase_elements` with the heads mean and ridge."""
    root = tmp_path_factory.mktemp("project")
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, root)
    for name in ("core", "featurestore", "heads", "zoo", "etl", "evaluation"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\nno_scm = true\nanalytics = false\ncheck_update = false\n")

    # Stages call `strata` by name: this one is the code under test, whichever environment runs the tests.
    (root / "bin").mkdir()
    script = root / "bin" / "strata"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} -P -c 'from strata import main; main()' \"$@\"\n")
    script.chmod(0o755)
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    made = Project(root, {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    made.configure(datasets=["ase_elements"], fit={"heads": ["mean", "ridge"]}, evaluate={"bootstrap": 50})
    made.repro()
    return made


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """An object store that behaves until it is told otherwise; `s3://vectors/…` are addresses in it."""
    pytest.importorskip("obstore", reason="obstore is not installed (extra bucket)")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("STRATA_CACHE", str(tmp_path / "cache"))
    with ObjectStore() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server
