"""Jobs, their data and ids."""

import sys

import numpy as np
import pytest

import featurestore
from core.errors import StrataError
from featurestore import SplitKey
from featurestore.query.feature_sets import resolve as resolve_set
from featurestore.query.sources import Source
from heads.plan import Job, jobs_of, read, run_id_of, wanted
from heads.registry import resolve
from tests.stores import CHECKPOINTS, EXTRACTION, OTHER_EXTRACTION, add_features, add_other_features

SECOND = "aaaabbbbccccdddd"  # another extraction by the same source model


def jobs(root, params):
    specs = [resolve(name, params.heads) for name in params.fit.heads]
    return list(jobs_of(featurestore.open(root), "alpha", params, specs))


def test_base_is_asked_for_once_a_split_and_the_others_once_a_feature_set(pristine_store, ask):
    params = ask("mean", "ridge", feature_sets=["atom_8", "bond_2"], properties={"alpha": ["gap"]})
    found = [(job.spec.name, job.feature_set, job.split.seed) for job in jobs(pristine_store, params)]
    assert found == [
        (head, feature_set, seed)
        for seed in (0, 1)
        for head, feature_set in [("mean", "atom_8"), ("ridge", "atom_8"), ("ridge", "bond_2")]
    ]


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        ({"properties": {"alpha": ["gasp"]}}, "unknown property 'gasp'.*did you mean 'gap'"),
        ({"feature_sets": ["atm_8"]}, "unknown feature set 'atm_8'.*did you mean 'atom_8'"),
        ({"feature_sets": []}, "feature_sets is empty"),
    ],
)
def test_unknown_names_are_refused(pristine_store, ask, fit, message):
    with pytest.raises(StrataError, match=message):
        jobs(pristine_store, ask("ridge", **fit))


def test_a_store_without_splits_says_what_to_run(tmp_path, ask):
    from tests.stores import small_store

    root = small_store(tmp_path / "store", splits=False)
    with pytest.raises(StrataError, match=r"alpha/energy has no split yet; run: strata split alpha"):
        jobs(root, ask("ridge"))


def test_the_vectors_are_those_of_the_source_model_that_the_params_name(store_root, ask):
    add_other_features(store_root, range(50))
    store = featurestore.open(store_root)
    assert wanted(store, "last", ask("ridge").extract).extractions == {"synthetic": EXTRACTION}
    other = ask("ridge").extract.model_copy(update={"source_models": ("other",)})
    assert wanted(store, "last", other).extractions == {"other": OTHER_EXTRACTION}
    missing = ask("ridge").extract.model_copy(update={"source_models": ("another", "synthetic")})
    with pytest.raises(
        StrataError, match=r"no vectors by another.*it has: synthetic, other.*extract another"
    ):
        wanted(store, "last", missing)


def test_vectors_of_another_numeric_mode_are_refused(pristine_store, ask):
    store = featurestore.open(pristine_store)
    fast = ask("ridge").extract.model_copy(update={"precision": "tf32"})
    with pytest.raises(
        StrataError, match=r"precision: float32, and params.yaml says tf32; run: strata extract synth"
    ):
        wanted(store, "last", fast)


def test_of_several_extractions_the_one_asked_for_last_is_meant(store_root, ask):
    add_features(store_root, range(50), extraction=SECOND, seed=1)
    store = featurestore.open(store_root)
    assert wanted(store, "last", ask("ridge").extract).extraction_id == SECOND


def test_what_is_asked_for_twice_in_other_words_is_fitted_once(pristine_store, ask):
    params = ask("ridge", feature_sets=["last", "atom_bond_angle_last", "synthetic/last"])
    assert {job.feature_set for job in jobs(pristine_store, params)} == {"atom_bond_angle_last"}
    assert len(jobs(pristine_store, params)) == 4


def test_a_job_says_how_the_store_is_asked(store_root, ask):
    add_other_features(store_root, range(50))
    params = ask("ridge", feature_sets=["last", "other/pair_1", "atom_0+other/pair_1"])
    asked = list(dict.fromkeys(job.asked for job in jobs(store_root, params)))
    assert asked == ["synthetic/atom_bond_angle_last", "other/pair_1", "synthetic/atom_0+other/pair_1"]


@pytest.fixture(scope="module")
def opened(pristine_store):
    return featurestore.open(pristine_store)


def vectors(text, extraction=EXTRACTION):
    source = Source("synthetic", extraction, "alignn", True, (), CHECKPOINTS)
    return resolve_set(text, {"synthetic": source}, "synthetic")


def job(name="ridge", feature_set="atom_8", split=SplitKey(), target="energy", **settings):  # noqa: B008 - a value
    return Job("alpha", target, vectors(feature_set), split, resolve(name, {name: settings}))


def test_targets_of_the_test_part_are_not_read(opened):
    data = read(opened, job())
    assert set(data.known.part) == {"train", "val"}
    assert data.test.y is None
    assert set(data.test.part) == {"test"}
    assert len(data.known) + len(data.test) == 40


def test_a_head_that_looks_at_no_vector_gets_none(opened):
    X, y = read(opened, job()).part("train", vectors=False)
    assert X.shape == (len(y), 1)
    assert not X.any()


def test_ids_differ_by_everything_that_decides_the_outcome(opened):
    asked = [
        job(),
        job(alphas=[2.0]),
        job("lightgbm"),
        job(feature_set="bond_8"),
        job(split=SplitKey("random", 1, 0)),
        job(target="gap"),
    ]
    ids = {run_id_of(each, read(opened, each)) for each in asked}
    assert len(ids) == len(asked)


def test_ids_differ_by_the_vectors_bytes(store_root):
    first = read(featurestore.open(store_root), job())
    add_features(store_root, range(50), extraction=SECOND, seed=1)
    second = read(featurestore.open(store_root), job())
    assert not np.array_equal(first.known.X, second.known.X)
    assert run_id_of(job(), first) != run_id_of(job(), second)
    assert run_id_of(job("mean"), first) == run_id_of(job("mean"), second)  # Base looks at no vector


def test_an_edit_of_a_users_head_makes_new_runs(opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "edited_heads.py"
    ids = []
    for line in ("0.0", "1.00"):
        file.write_text(
            "from heads import Mean\n\nclass Constant(Mean):\n"
            f"    def _predict(self, X):\n        return X[:, 0] * {line}\n"
        )
        sys.modules.pop("edited_heads", None)
        asked = Job("alpha", "energy", vectors("atom_8"), SplitKey(), resolve("edited_heads.Constant"))
        __import__("linecache").clearcache()
        ids.append(run_id_of(asked, read(opened, asked)))
    sys.modules.pop("edited_heads", None)
    assert ids[0] != ids[1]
