"""Verdicts on synthetic samples whose answer is known."""

import numpy as np
import pytest
from scipy import stats

from experiments.verdicts import (
    Part,
    Verdict,
    across,
    every,
    falling,
    flat,
    never,
    ratio_of_means,
    ratio_values,
    rising,
)


def sample(mean, spread=1.0, seeds=20):
    """Values with exactly this mean and this standard deviation."""
    values = np.random.default_rng(0).normal(size=seeds)
    return mean + spread * (values - values.mean()) / values.std(ddof=1)


HALF_WIDTH = stats.t.ppf(0.975, 19) / np.sqrt(20)
"""Of the 95 % interval of `sample(mean)`, from its definition."""


class TestPart:
    @pytest.mark.parametrize(
        "mean, verdict",
        [
            (HALF_WIDTH * 1.01, Verdict.HOLDS),
            (HALF_WIDTH * 0.99, Verdict.UNDECIDED),
            (-HALF_WIDTH * 0.99, Verdict.UNDECIDED),
            (-HALF_WIDTH * 1.01, Verdict.FAILS),
        ],
    )
    def test_above_zero(self, mean, verdict):
        assert Part(sample(mean), low=0.0).verdict() == verdict
        assert Part(-sample(mean), high=0.0).verdict() == verdict

    @pytest.mark.parametrize("mean, verdict", [(2.0, Verdict.HOLDS), (1.2, Verdict.UNDECIDED), (4.0, Verdict.FAILS)])
    def test_a_range(self, mean, verdict):
        assert Part(sample(mean), low=1.0, high=3.0).verdict() == verdict

    def test_more_seeds_decide(self):
        assert Part(sample(0.2, seeds=20), low=0.0).verdict() == Verdict.UNDECIDED
        assert Part(sample(0.2, seeds=500), low=0.0).verdict() == Verdict.HOLDS

    def test_equal_values_without_spread_are_not_above_each_other(self):
        assert Part(np.zeros(5), low=0.0).verdict() == Verdict.FAILS

    def test_pairing_decides_what_the_schemes_intervals_do_not(self):
        common = sample(0.0, spread=10.0)
        slow, fast = common + 1.0, common + 0.1 * sample(0.0)[::-1]
        assert Part(slow - fast, low=0.0).verdict() == Verdict.HOLDS
        assert Part(slow - fast[::-1], low=0.0).verdict() == Verdict.UNDECIDED


class TestEvery:
    def test_all_must_hold(self):
        yes, no, open_ = (Part(sample(mean), low=0.0) for mean in (1.0, -1.0, 0.0))
        assert every([yes, yes]) == Verdict.HOLDS
        assert every([yes, open_]) == Verdict.UNDECIDED
        assert every([yes, open_, no]) == Verdict.FAILS

    def test_one_refutation_among_many_must_be_stronger(self):
        weak, yes = Part(sample(-1.05 * HALF_WIDTH), low=0.0), Part(sample(1.0), low=0.0)
        assert every([weak]) == Verdict.FAILS
        assert every([weak, *[yes] * 19]) == Verdict.UNDECIDED

    def test_noise_refutes_a_true_claim_rarely(self):
        rng = np.random.default_rng(1)
        claims = rng.normal(size=(2000, 10, 20))
        refuted = [every(Part(values, low=0.0) for values in parts) == Verdict.FAILS for parts in claims]
        assert np.mean(refuted) < 0.05

    def test_no_parts(self):
        with pytest.raises(ValueError, match="at least one part"):
            every([])


class TestAcross:
    yes, no, open_ = ([Part(sample(mean), low=0.0)] for mean in (1.0, -1.0, 0.0))

    def test_where_all_agree_no_case_is_named(self):
        assert across({"a": self.yes, "b": self.yes}) == (Verdict.HOLDS, "")

    def test_where_they_differ(self):
        assert across({"a": self.yes, "b": self.no}) == (Verdict.PARTLY, "a: holds; b: does not hold")
        assert across({"a": self.yes, "b": self.open_})[0] == Verdict.UNDECIDED
        assert across({"a": self.open_, "b": self.no})[0] == Verdict.FAILS


def test_one_exception_refutes_never():
    assert never(0) == Verdict.HOLDS
    assert never(1) == Verdict.FAILS


class TestRatio:
    def test_it_is_of_the_means_and_not_the_mean_of_ratios(self):
        slow, fast = np.array([1.0, 9.0]), np.array([1.0, 1.0])
        assert ratio_values(slow, fast).mean() == pytest.approx(5.0)
        assert ratio_values(fast, slow).mean() == pytest.approx(0.2)

    def test_equal_ratios_leave_no_spread(self):
        latency = sample(10.0)
        found = ratio_of_means(3.0 * latency, latency)
        assert found.mean == pytest.approx(3.0)
        assert found.half_width == pytest.approx(0.0, abs=1e-12)

    def test_the_interval_covers_the_true_ratio_as_often_as_it_says(self):
        rng = np.random.default_rng(2)
        covered = []
        for _ in range(2000):
            world = rng.normal(10.0, 2.0, 60)
            base, scheme = 2.0 * world + rng.normal(0.0, 1.0, 60), world + rng.normal(0.0, 1.0, 60)
            found = ratio_of_means(base, scheme)
            covered.append(found.low < 2.0 < found.high)
        assert 0.93 < np.mean(covered) < 0.97


class TestTrends:
    def test_falling_and_rising(self):
        down = [sample(mean) for mean in (3.0, 2.0, 1.0)]
        assert every(falling(down)) == Verdict.HOLDS
        assert every(rising(down)) == Verdict.FAILS
        assert every(falling(down[::-1])) == Verdict.FAILS
        assert every(rising(down[::-1])) == Verdict.HOLDS

    def test_noise_has_no_trend(self):
        rng = np.random.default_rng(3)
        level = [rng.normal(10.0, 3.0, 10) for _ in range(5)]
        assert every(falling(level)) == Verdict.UNDECIDED
        assert every(rising(level)) == Verdict.UNDECIDED

    def test_a_margin(self):
        down = [sample(mean) for mean in (3.0, 2.0)]
        assert every(falling(down, margin=0.5)) == Verdict.HOLDS
        assert every(falling(down, margin=2.0)) == Verdict.FAILS

    def test_flat(self):
        rng = np.random.default_rng(4)
        assert every(flat([10.0 + rng.normal(0.0, 0.1, 20) for _ in range(4)], 0.2)) == Verdict.HOLDS
        assert every(flat([mean + rng.normal(0.0, 0.1, 20) for mean in (5.0, 10.0, 15.0)], 0.2)) == Verdict.FAILS
        assert every(flat([10.0 + rng.normal(0.0, 10.0, 10) for _ in range(4)], 0.2)) == Verdict.UNDECIDED
