"""Heads for classes."""

import numpy as np
import pytest

from core.errors import StrataError
from heads import NotApplicable, load_head
from heads.classifier import Classifier, Frequencies, SklearnClassifier, check_classifier
from heads.lightgbm_classes import LightGBMClassifier
from heads.logistic import Logistic
from heads.registry import resolve
from heads.tasks import suited

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)).astype(np.float32)
CODES = (X[:, 0] > 0).astype(float) + (X[:, 1] > 0.5)
FOREST = {"class": "sklearn.ensemble.RandomForestClassifier", "n_estimators": 10}
HEADS = [
    Frequencies(),
    Logistic(),
    LightGBMClassifier(n_estimators=20),
    SklearnClassifier(FOREST),
    SklearnClassifier({"class": "sklearn.svm.SVC", "probability": True}),
]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("head", HEADS, ids=lambda head: f"{type(head).__name__}")
def test_contract(head):
    check_classifier(head)


@pytest.mark.parametrize("head", HEADS[1:4], ids=lambda head: type(head).__name__)
def test_they_learn(head):
    head.fit(X[:120], CODES[:120], X[120:150], CODES[120:150])
    assert (head.predict(X[150:]) == CODES[150:]).mean() > 0.6


def test_two_classes_and_the_penalty_by_validation(tmp_path):
    y = CODES > 0
    head = Logistic(costs=[1e-9, 1.0]).fit(X[:120], y[:120], X[120:], y[120:])
    assert head.cost_ == 1.0
    assert head.predict_proba(X, 2).shape == (200, 2)
    head.save(tmp_path)
    assert np.array_equal(load_head(tmp_path).predict_proba(X, 2), head.predict_proba(X, 2))
    with pytest.raises(StrataError, match="costs must be a list of positive numbers"):
        Logistic(costs=[0.0]).fit(X, y)


def test_a_class_that_only_the_validation_part_has_is_no_error():
    few = CODES.copy()
    few[:120][few[:120] == 2] = 1
    for head in HEADS[1:3]:
        assert head.fit(X[:120], few[:120], X[120:], few[120:]).predict_proba(X, 3)[:, 2].max() == 0


def test_what_gives_no_probabilities_says_so():
    with pytest.raises(NotApplicable, match=r"gives no probabilities .*CalibratedClassifierCV"):
        SklearnClassifier({"class": "sklearn.linear_model.RidgeClassifier"}).fit(X, CODES)

    class Odd(Frequencies):
        def _probabilities(self, X):
            return np.full((len(X), 3), 0.5)

    with pytest.raises(StrataError, match="gives no probabilities of 3 classes"):
        Odd().fit(X, CODES).predict_proba(X, 3)


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("mean", Frequencies),
        ("lightgbm", LightGBMClassifier),
        ("forest", SklearnClassifier),
        ("logistic", Logistic),
        ("svm", SklearnClassifier),
    ],
)
def test_what_stands_for_a_head_where_there_are_classes(name, cls):
    spec = suited(resolve(name, {"svm": {"class": "sklearn.svm.SVC", "C": 10}}), classes=True)
    assert spec.cls is cls
    assert spec.name == name
    assert spec.built_in
    made = spec.make()
    assert isinstance(made, Classifier)


def test_what_predicts_the_other_is_not_applicable():
    for name in ("ridge", "svr", "nn17"):
        with pytest.raises(NotApplicable, match=f"{name} predicts numbers, and these are classes"):
            suited(resolve(name), classes=True)
    with pytest.raises(NotApplicable, match="logistic predicts classes, and these are numbers"):
        suited(resolve("logistic"), classes=False)
    assert suited(resolve("ridge"), classes=False) == resolve("ridge")
