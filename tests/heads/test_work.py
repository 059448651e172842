"""Fits side by side: the same runs whatever the number of processes."""

import featurestore
from heads.fit import fit
from heads.plan import searched

ASKED = {"choose_by": "cv", "refit": True, "repeats": 1, "properties": {"alpha": ["energy"]}}


def kept(root):
    query = "SELECT * FROM predictions ORDER BY run_id, part, entry_id"
    return featurestore.open(root).sql(query).df()


def test_two_workers_make_what_this_process_makes(store_root, ask, tmp_path):
    import shutil

    other = shutil.copytree(store_root, tmp_path / "other")
    here = fit("alpha", ask("mean", "ridge", workers=0, **ASKED), store_root)
    there = fit("alpha", ask("mean", "ridge", workers=2, **ASKED), other)
    assert [run.run_id for run in there.runs] == [run.run_id for run in here.runs]
    assert kept(other).equals(kept(store_root))
    assert fit("alpha", ask("mean", "ridge", workers=2, **ASKED), other).new == 0


def test_auto_takes_every_source_model_and_joins_those_with_enough_rows(store_root, ask):
    assert searched({"a": 10, "b": 9, "c": 3}) == [
        *("a/last", "a/all", "b/last", "b/all", "c/last", "c/all"),
        "a/all+b/all",
    ]
    report = fit("alpha", ask("ridge", feature_sets=["auto"], properties={"alpha": ["energy"]}), store_root)
    assert {run.feature_set for run in report.runs} == {"atom_bond_angle_last", "all"}
