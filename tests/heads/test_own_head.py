"""docs/heads.md: the example is short, runs, keeps the contract, and is fitted by naming its import path."""

import re
import sys

import yaml

import featurestore
from core.params import parse
from heads import check_head
from heads.fit import fit
from heads.registry import resolve
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "heads.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_example_of_the_docs_is_fitted(store_root, tmp_path, monkeypatch):
    code = blocks("python")[0]
    assert len(code.splitlines()) < 20
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_heads.py").write_text(code)
    settings = yaml.safe_load(next(text for text in blocks("yaml") if "my_heads.Nearest: {" in text))
    try:
        params = parse({**settings, "extract": {"source_models": ["synthetic"]}})
        report = fit("alpha", params, store_root)
        assert {run.head for run in report.runs} == {"mean", "ridge", "my_heads.Nearest"}
        kept = featurestore.open(store_root).sql("SELECT settings FROM runs WHERE head = 'my_heads.Nearest'")
        assert {row[0] for row in kept.fetchall()} == {'{"k": 3}'}
        assert fit("alpha", params, store_root).new == 0
        check_head(resolve("my_heads.Nearest").make())

        variants = yaml.safe_load(next(text for text in blocks("yaml") if "nearest_9" in text))
        both = parse({**variants, "extract": {"source_models": ["synthetic"]}})
        assert {run.head for run in fit("alpha", both, store_root).runs} == {"nearest_3", "nearest_9"}
    finally:
        sys.modules.pop("my_heads", None)
