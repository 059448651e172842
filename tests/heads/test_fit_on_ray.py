"""The stage `fit` on a Ray cluster: the same runs as in this process."""

import shutil

import pytest

import featurestore
from heads.fit import fit
from tests.clusters import small_cluster

_SAME = "SELECT * EXCLUDE (fit_seconds, created_at) FROM runs ORDER BY run_id"


@pytest.mark.slow
def test_runs_and_predictions_are_those_of_one_process(store_root, ask, tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    for root in (here, there):
        shutil.copytree(store_root, root)
    params = ask("mean", "ridge", "svr")
    monkeypatch.chdir(tmp_path)
    with small_cluster(2):
        for root, engine, workers in ((here, "local", 0), (there, "ray", 2)):
            asked = params.fit.model_copy(update={"engine": engine, "workers": workers})
            report = fit("alpha", params.model_copy(update={"fit": asked}), root.name)
            assert report.new == len(report.runs) > 4
    first, second = (featurestore.open(root) for root in (here, there))
    for query in (_SAME, "SELECT * FROM predictions ORDER BY ALL"):
        assert first.sql(query).to_arrow_table().equals(second.sql(query).to_arrow_table())
