"""The commands fit and heads."""

import pytest
from typer.testing import CliRunner

from core.errors import StrataError
from heads.cli import app

run = CliRunner().invoke


def test_heads_lists_built_in_and_own_with_settings(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("heads:\n  stiff: {class: ridge, alphas: [77.0]}\nfit:\n  heads: [mean, stiff]\n")
    done = run(app, ["heads", "--params", str(file)], env={"COLUMNS": "150"})
    assert done.exit_code == 0, done.output
    for name in ("mean", "ridge", "lightgbm", "nn17", "stiff"):
        assert name in done.output
    assert "77.0" in done.output


def test_heads_needs_no_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "nn17" in run(app, ["heads"]).output


def test_fit_fits_and_tells(store_root, tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("extract: {source_models: [synthetic]}\nfit: {heads: [mean, ridge]}\n")
    done = run(app, ["fit", "beta", "--store", str(store_root), "--params", str(file)])
    assert done.exit_code == 0, done.output
    assert "beta: 8 runs, 8 of them fitted now" in done.output


def test_fit_hands_on_errors_for_people(store_root, tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("extract: {source_models: [synthetic]}\nfit: {heads: [maen]}\n")
    done = run(app, ["fit", "beta", "--store", str(store_root), "--params", str(file)])
    assert isinstance(done.exception, StrataError)
    with pytest.raises(StrataError, match="did you mean 'mean'"):
        raise done.exception
