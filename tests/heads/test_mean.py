"""Base."""

import numpy as np
from sklearn.utils.estimator_checks import parametrize_with_checks

from heads import Mean, check_head


@parametrize_with_checks([Mean()])
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


def test_contract():
    check_head(Mean())


def test_it_is_the_mean_of_the_training_part_alone():
    X = np.zeros((3, 1))
    head = Mean().fit(X, [1.0, 2.0, 6.0], X, [100.0, 100.0, 100.0])
    assert head.predict([[7.0]]).tolist() == [3.0]
