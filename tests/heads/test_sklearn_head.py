"""Estimators of scikit-learn by import path: what a name reaches, the contract, and files without pickles."""

import numpy as np
import pytest
import yaml
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, RobustScaler
from sklearn.svm import SVR
from skops.io import dump

from core.checksums import write_checksums
from core.errors import StrataError
from core.params import parse
from heads import NotApplicable, check_head, load_head, resolve
from heads.fit import fit
from heads.registry import check_sections
from heads.sklearn_head import SklearnHead, build

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = 200 + 30 * X[:, 0] + RNG.normal(size=60)
PIPELINE = {
    "class": "sklearn.pipeline.Pipeline",
    "steps": [
        {"class": "sklearn.decomposition.PCA", "n_components": 3},
        {"class": "sklearn.linear_model.Ridge", "alpha": 0.1},
    ],
}
SEVERAL = [
    {"class": "sklearn.svm.SVR", "C": 10},
    {"class": "sklearn.ensemble.RandomForestRegressor", "n_estimators": 5},
    {"class": "sklearn.ensemble.HistGradientBoostingRegressor", "max_iter": 5},
    {"class": "sklearn.neighbors.KNeighborsRegressor", "n_neighbors": 3},
    {"class": "sklearn.gaussian_process.GaussianProcessRegressor", "alpha": 0.1},
    {"class": "sklearn.neural_network.MLPRegressor", "max_iter": 20},
    PIPELINE,
    {
        "class": "sklearn.model_selection.GridSearchCV",
        "estimator": {"class": "sklearn.svm.SVR"},
        "param_grid": {"C": [1, 10]},
    },
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("estimator", SEVERAL, ids=lambda given: given["class"].rpartition(".")[2])
def test_contract(estimator):
    check_head(SklearnHead(estimator))


def test_two_lines_of_params_are_a_head(tmp_path):
    params = parse({"fit": {"heads": ["svm"]}, "heads": {"svm": {"class": "sklearn.svm.SVR", "C": 10}}})
    check_sections(params.heads)
    spec = resolve("svm", params.heads)
    assert spec.built_in
    head = spec.make().fit(X, Y)
    assert (head.estimator_.C, type(head.estimator_)) == (10, SVR)
    head.save(tmp_path)
    assert np.array_equal(load_head(tmp_path, params).predict(X), head.predict(X))


def test_a_pipeline_stands_in_params_by_import_paths(tmp_path):
    text = """
heads:
  chain:
    class: sklearn.pipeline.Pipeline
    steps:
      - {class: sklearn.preprocessing.RobustScaler}
      - {class: sklearn.decomposition.PCA, n_components: 3}
      - {class: sklearn.svm.SVR, C: 10}
"""
    params = parse(yaml.safe_load(text))
    check_sections(params.heads)
    head = resolve("chain", params.heads).make().fit(X, Y)
    assert [type(step).__name__ for _, step in head.estimator_.steps] == ["RobustScaler", "PCA", "SVR"]
    head.save(tmp_path)
    assert np.array_equal(load_head(tmp_path, params).predict(X), head.predict(X))


def test_weights_reach_the_last_step_of_a_pipeline():
    steps = [{"class": "sklearn.preprocessing.RobustScaler"}, {"class": "sklearn.linear_model.Ridge"}]
    head = SklearnHead({"class": "sklearn.pipeline.Pipeline", "steps": steps}, standardise=False)
    weights = RNG.integers(1, 4, 60)
    scaled = RobustScaler().fit_transform(X)
    expected = Ridge().fit(scaled, Y, sample_weight=weights).predict(scaled)
    np.testing.assert_allclose(head.fit(X, Y, sample_weight=weights).predict(X), expected, rtol=1e-5)


def test_it_works_in_scikit_learns_own_tools():
    head = SklearnHead({"class": "sklearn.svm.SVR", "C": 10})
    assert cross_val_score(make_pipeline(PCA(3), head), X, Y, cv=3, error_score="raise").shape == (3,)
    weights = np.ones(60)
    scores = cross_val_score(head, X, Y, cv=3, params={"sample_weight": weights}, error_score="raise")
    assert scores.mean() > 0.5
    search = GridSearchCV(head, {"standardise": [True, False]}, cv=3).fit(X, Y)
    assert search.best_params_ == {"standardise": True}


def test_it_is_fitted_by_its_import_path_alone(store_root, ask):
    asked = ask("sklearn.linear_model.BayesianRidge", properties={"alpha": ["energy"]})
    report = fit("alpha", asked, store_root)
    assert {run.head for run in report.runs} == {"sklearn.linear_model.BayesianRidge"}
    assert fit("alpha", asked, store_root).new == 0


def test_columns_and_target_are_standardised_unless_told_otherwise():
    wide = X * np.array([1, 1e3, 1, 1], np.float32)
    given = {"class": "sklearn.svm.SVR", "C": 10}
    errors = [
        np.abs(SklearnHead(given, standardise=yes).fit(wide, Y).predict(wide) - Y).mean()
        for yes in (True, False)
    ]
    assert errors[0] < 0.5 * errors[1]
    plain = SVR(C=10).fit(wide, Y).predict(wide)
    assert np.array_equal(SklearnHead(given, standardise=False).fit(wide, Y).predict(wide), plain)


def test_steps_are_named_and_draws_are_seeded():
    made = build({**PIPELINE, "steps": [*PIPELINE["steps"][:1], SEVERAL[1]]})
    assert isinstance(made, Pipeline)
    assert [name for name, _ in made.steps] == ["pca_0", "randomforestregressor_1"]
    assert made.steps[1][1].random_state == 0
    assert build({**SEVERAL[1], "random_state": 7}).random_state == 7


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"class": "sklearn.svm.SVM"}, "heads.mine: unknown estimator 'SVM' in sklearn.svm.*did you mean"),
        ({"class": "sklearn.smv.SVR"}, "unknown module of scikit-learn 'smv'.*did you mean 'svm'"),
        ({"class": "sklearn.svm.SVR", "c": 1}, "unknown setting 'c' in sklearn.svm.SVR"),
        ({"class": "sklearn.cluster.KMeans"}, "sklearn.cluster.KMeans is no regressor and no classifier"),
        ({"class": "sklearn.preprocessing.StandardScaler"}, "is no regressor"),
        ({"class": "sklearn.utils._testing.os.system"}, "is not the import path of an estimator"),
        ({"class": "sklearn.datasets.fetch_openml"}, "unknown estimator 'fetch_openml'"),
        ({"class": "sklearn.base.np"}, "unknown"),
        ({"class": "sklearn.pipeline.Pipeline", "steps": [{"class": "os.system"}]}, "'os.system' is not the"),
        ({"class": "sklearn.svm.SVR", "C": {1, 2}}, "settings must be JSON values"),
    ],
)
def test_a_name_reaches_nothing_but_public_estimators(section, message):
    with pytest.raises(StrataError, match=message):
        resolve("mine", {"mine": section})


def test_two_values_a_row_are_refused_by_name(monkeypatch):
    head = SklearnHead({"class": "sklearn.linear_model.LinearRegression"}).fit(X, Y)
    monkeypatch.setattr(head.estimator_, "predict", lambda X: np.zeros((len(X), 2)))
    with pytest.raises(StrataError, match=r"sklearn\.linear_model\.LinearRegression predicts.*\(60, 2\)"):
        head.predict(X)


def test_a_target_that_an_estimator_cannot_take_is_a_verdict_that_says_what_may_help():
    head = SklearnHead({"class": "sklearn.linear_model.PoissonRegressor"})
    with pytest.raises(NotApplicable, match=r"PoissonRegressor: .*set standardise: false"):
        head.fit(X, Y)
    assert np.isfinite(SklearnHead(head.estimator, standardise=False).fit(X, Y).predict(X)).all()


def test_weights_reach_an_estimator_that_takes_them_and_are_refused_by_others():
    weights = np.where(np.arange(60) == 3, 100.0, 1.0)
    head = SklearnHead({"class": "sklearn.linear_model.LinearRegression"})
    spoiled = Y + np.where(np.arange(60) == 3, 50, 0)
    near = abs(head.fit(X, spoiled, sample_weight=weights).predict(X)[3] - spoiled[3])
    assert near < abs(head.fit(X, spoiled).predict(X)[3] - spoiled[3])
    with pytest.raises(StrataError, match="KNeighborsRegressor takes no sample_weight"):
        SklearnHead({"class": "sklearn.neighbors.KNeighborsRegressor"}).fit(X, Y, sample_weight=weights)


def test_a_file_that_holds_foreign_code_is_not_loaded(tmp_path):
    import os

    head = SklearnHead({"class": "sklearn.svm.SVR"}).fit(X, Y)
    head.save(tmp_path)
    dump(FunctionTransformer(os.system), tmp_path / "estimator.skops")
    write_checksums(tmp_path)
    with pytest.raises(StrataError, match="which neither scikit-learn nor NumPy made"):
        load_head(tmp_path)


def test_a_saved_head_holds_no_pickle(tmp_path):
    SklearnHead(PIPELINE).fit(X, Y).save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "SHA256SUMS",
        "arrays.safetensors",
        "estimator.skops",
        "head.json",
    ]
    assert (tmp_path / "estimator.skops").read_bytes()[:2] == b"PK"
