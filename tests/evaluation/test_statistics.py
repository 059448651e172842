"""Every test against a value worked out by hand, to 1e-9, and the properties that hold for any numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import StrataError
from evaluation.statistics import (
    corrected_t_test,
    critical_difference,
    mad,
    mae,
    paired_change,
    percent_change,
    quartiles,
    r2,
    sign_test,
    spearman,
    wilcoxon,
)

numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
close = 1e-9


def worked(value: float):
    """Compare with a value worked out by hand."""
    return pytest.approx(value, rel=close, abs=close)


class TestCorrectedT:
    """Nadeau & Bengio: t = mean / √((1/J + n_test/n_train) s²)."""

    # three folds, so two degrees of freedom, where Student's t is elementary:
    # cdf(t) = 1/2 + t / (2 √(2 + t²)), and its inverse is x √(2 / (1 - x²)) at x = 2p - 1
    DIFFERENCES = (-0.2, -0.5, -0.8)

    def test_statistic_p_and_interval_by_hand(self):
        mean = (-0.2 - 0.5 - 0.8) / 3
        variance = (0.3**2 + 0 + 0.3**2) / 2
        error = math.sqrt((1 / 3 + 10 / 80) * variance)  # √(11/24 · 0.09)
        t = mean / error
        p = 1 - abs(t) / math.sqrt(2 + t * t)  # 2 (1 - cdf(|t|))
        half = 0.95 * math.sqrt(2 / (1 - 0.95**2)) * error
        done = corrected_t_test(self.DIFFERENCES, n_train=80, n_test=10)
        assert done.n == 3
        assert done.mean == worked(mean) == worked(-0.5)
        assert done.statistic == worked(t) == worked(-2.461829819586655)
        assert done.p_value == worked(p)
        assert (done.low, done.high) == (worked(mean - half), worked(mean + half))

    def test_one_tail_is_half_of_two(self):
        both = corrected_t_test(self.DIFFERENCES, 80, 10)
        less = corrected_t_test(self.DIFFERENCES, 80, 10, alternative="less")
        assert less.p_value == worked(both.p_value / 2)
        worse = corrected_t_test([-d for d in self.DIFFERENCES], 80, 10, alternative="less")
        assert worse.p_value == worked(1 - less.p_value)

    def test_two_splits_by_hand(self):
        # one degree of freedom: cdf(t) = 1/2 + arctan(t)/π; d = -1, -3: mean -2, s² = 2
        t = -2 / math.sqrt((1 / 2 + 1 / 8) * 2)
        done = corrected_t_test([-1.0, -3.0], n_train=8, n_test=1)
        assert done.statistic == worked(t)
        assert done.p_value == worked(1 - 2 * math.atan(abs(t)) / math.pi)

    def test_the_correction_widens_the_plain_interval(self):
        plain = corrected_t_test(self.DIFFERENCES, n_train=1e12, n_test=1)
        corrected = corrected_t_test(self.DIFFERENCES, n_train=8, n_test=1)
        assert corrected.low < plain.low < plain.high < corrected.high

    def test_degenerate_differences(self):
        one = corrected_t_test([-1.0], 8, 1)
        assert (one.mean, one.low, one.p_value) == (-1.0, None, None)
        same = corrected_t_test([0.0, 0.0], 8, 1)
        assert (same.p_value, same.low, same.high) == (1.0, 0.0, 0.0)
        constant = corrected_t_test([-2.0, -2.0], 8, 1)
        assert (constant.p_value, constant.low, constant.high) == (0.0, -2.0, -2.0)

    @given(st.lists(numbers, min_size=2, max_size=9))
    def test_sign_flips_with_the_differences(self, d):
        here, there = corrected_t_test(d, 8, 1), corrected_t_test([-x for x in d], 8, 1)
        assert here.p_value == pytest.approx(there.p_value, abs=1e-12)
        assert 0 <= here.p_value <= 1
        assert here.low == pytest.approx(-there.high, abs=1e-6)

    def test_refuses_what_is_no_number(self):
        with pytest.raises(StrataError, match="number 1 of 2 is nan"):
            corrected_t_test([0.0, math.nan], 8, 1)
        with pytest.raises(StrataError, match="n_test 0"):
            corrected_t_test([0.0, 1.0], 8, 0)


class TestSign:
    """P(at least k heads of n)."""

    def test_by_hand(self):
        # 8 gains of 10: (C(10,8) + C(10,9) + C(10,10)) / 2^10 = (45 + 10 + 1) / 1024
        done = sign_test([-1.0] * 8 + [0.5, 2.0] + [0.0] * 3)
        assert (done.gains, done.losses, done.ties) == (8, 2, 3)
        assert done.p_value == worked(56 / 1024)

    def test_the_papers_own(self):
        tail = sum(math.comb(115, k) for k in range(104, 116)) / 2**115
        done = sign_test([-1.0] * 104 + [1.0] * 11)
        assert done.p_value == pytest.approx(tail, rel=close)
        assert done.p_value < 1e-5  # what the paper says of it

    def test_interval_of_all_gains_by_hand(self):
        # Clopper-Pearson with n of n: low = (α/2)^(1/n), high = 1
        done = sign_test([-1.0] * 5)
        assert (done.low, done.high) == (worked(0.025 ** (1 / 5)), 1.0)

    def test_only_ties_say_nothing(self):
        assert sign_test([0.0, 0.0]).p_value is None


class TestWilcoxon:
    """The number of sign patterns whose rank sum is as small, over 2^n."""

    def test_by_hand(self):
        # ranks of |d|: 0.1→1, 0.2→2, 0.3→3, 0.4→4, 0.5→5; positive: rank 1, so W+ = 1.
        # subsets of {1..5} with a sum of at most 1: {} and {1}, of 2^5
        done = wilcoxon([0.1, -0.2, -0.3, -0.4, -0.5])
        assert (done.statistic, done.n) == (1.0, 5)
        assert done.p_value == worked(2 / 32)

    def test_larger_rank_sum_by_hand(self):
        # W+ = 3 (rank 3 positive): sums at most 3: {}, {1}, {2}, {3}, {1,2}
        assert wilcoxon([-0.1, -0.2, 0.3, -0.4, -0.5]).p_value == worked(5 / 32)

    def test_zeros_are_left_out(self):
        assert wilcoxon([0.0, 0.1, -0.2, -0.3, -0.4, -0.5]).n == 5
        assert wilcoxon([0.0]).p_value is None


class TestCriticalDifference:
    """Four targets, three methods."""

    ERRORS = np.array([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [1.0, 2.0, 3.0], [2.0, 1.0, 3.0]])

    def test_ranks_and_friedman_by_hand(self):
        done = critical_difference(self.ERRORS, ["tl", "sc", "base"])
        assert done.methods == ("tl", "sc", "base")
        assert done.ranks == (worked(5 / 4), worked(8 / 4), worked(11 / 4))
        # χ² = 12 / (n k (k+1)) Σ R² - 3 n (k+1) with rank sums 5, 8, 11
        chi2 = 12 / (4 * 3 * 4) * (25 + 64 + 121) - 3 * 4 * 4
        assert done.statistic == worked(chi2) == worked(4.5)
        assert done.p_value == worked(math.exp(-chi2 / 2))  # two degrees of freedom

    def test_distance_has_the_tabulated_constant(self):
        done = critical_difference(self.ERRORS, ["a", "b", "c"])
        # Demšar's table 5: q(0.05) = 2.343 for three methods
        assert done.distance / math.sqrt(3 * 4 / (6 * 4)) == pytest.approx(2.343, abs=1e-3)
        assert done.groups == (("a", "b", "c"),)

    def test_distance_of_three_methods_by_integration(self):
        # the range of three standard normals: F(r) = 3 ∫ φ(x) [Φ(x + r) - Φ(x)]² dx
        done = critical_difference(self.ERRORS, ["a", "b", "c"])
        r = done.distance / math.sqrt(3 * 4 / (6 * 4)) * math.sqrt(2)
        x = np.linspace(-12, 12, 24001)
        density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
        below = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])
        shifted = np.array([0.5 * math.erfc(-(v + r) / math.sqrt(2)) for v in x])
        total = 3 * float(np.sum(density * (shifted - below) ** 2) * (x[1] - x[0]))
        assert total == worked(0.95)

    def test_groups_part_where_the_distance_is_passed(self):
        errors = np.tile([1.0, 2.0, 3.0, 4.0], (12, 1))
        done = critical_difference(errors, ["a", "b", "c", "d"])
        assert 1 < done.distance < 2
        assert done.groups == (("a", "b"), ("b", "c"), ("c", "d"))

    def test_ties_share_a_rank(self):
        done = critical_difference(np.ones((3, 3)), ["a", "b", "c"])
        assert done.ranks == (2.0, 2.0, 2.0)
        assert done.p_value == 1.0

    def test_two_methods_are_refused(self):
        with pytest.raises(StrataError, match="2 methods on 4 targets"):
            critical_difference(self.ERRORS[:, :2], ["a", "b"])


def test_quartiles_by_hand():
    done = quartiles([4.0, -1.0, 2.0, 7.0, 0.5])
    assert (done.n, done.minimum, done.median, done.maximum) == (5, -1.0, 2.0, 7.0)
    assert done.mean == worked(12.5 / 5)
    assert done.sd == worked(math.sqrt((1.5**2 + 3.5**2 + 0.5**2 + 4.5**2 + 2**2) / 4))
    assert (done.q1, done.q3) == (worked(0.5), worked(4.0))
    assert quartiles([3.0]).sd is None


def test_errors_by_hand():
    actual, predicted = [1.0, 2.0, 4.0, 9.0], [2.0, 2.0, 1.0, 8.0]
    assert mae(actual, predicted) == worked((1 + 0 + 3 + 1) / 4)
    assert mad(actual) == worked((3 + 2 + 0 + 5) / 4)
    assert r2(actual, predicted) == worked(1 - (1 + 0 + 9 + 1) / (9 + 4 + 0 + 25))
    # ranks 1 2 3 4 and 2.5 2.5 1 4: covariance and variances of ranks about 2.5
    over = (-1.5 * 0 + -0.5 * 0 + 0.5 * -1.5 + 1.5 * 1.5) / math.sqrt((2.25 + 0.25) * 2 * (2.25 * 2))
    assert spearman(actual, predicted) == worked(over)
    assert percent_change(8.0, 6.0) == worked(-25.0)
    assert percent_change(0.0, 6.0) is None
    assert r2([1.0, 1.0], predicted[:2]) is None
    assert spearman([1.0, 2.0], [3.0, 3.0]) is None


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=20), st.floats(0.1, 3))
def test_a_change_that_is_the_same_for_all_has_no_width(errors, factor):
    low, high = paired_change(errors, [factor * e for e in errors], resamples=50)
    assert low == pytest.approx(100 * (factor - 1), abs=1e-6)
    assert high == pytest.approx(100 * (factor - 1), abs=1e-6)


def test_paired_change_needs_pairs():
    with pytest.raises(StrataError, match="got 2 and 3"):
        paired_change([1.0, 2.0], [1.0, 2.0, 3.0])
    assert paired_change([1.0], [2.0]) == (None, None)
