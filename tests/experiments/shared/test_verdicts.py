"""Verdicts on synthetic samples whose answer is known."""

import numpy as np
import pytest

from agents.evaluation.statistics import interval
from experiments.shared.verdicts import (
    Claim,
    Part,
    Verdict,
    across,
    claims_table,
    counted,
    every,
    falling,
    flat,
    judge,
    mean_of,
    rising,
    some,
    spread,
)


def sample(mean, deviation=1.0, seeds=40, stream=0):
    """Values with exactly this mean and this standard deviation."""
    values = np.random.default_rng(stream).normal(size=seeds)
    return mean + deviation * (values - values.mean()) / values.std(ddof=1)


def above(mean):
    """A part that claims a mean above 0; half of the interval of 40 values with deviation 1 is about 0.31."""
    return Part(mean_of(sample(mean)), low=0.0)


class TestPart:
    @pytest.mark.parametrize(
        ("mean", "verdict"),
        [
            (0.35, Verdict.HOLDS), (0.25, Verdict.UNDECIDED), (0.0, Verdict.UNDECIDED), (-0.25, Verdict.UNDECIDED),
            (-0.35, Verdict.FAILS),
        ],
    )  # fmt: skip
    def test_above_zero(self, mean, verdict):
        assert above(mean).verdict() == verdict
        assert Part(-mean_of(sample(mean)), high=0.0).verdict() == verdict

    @pytest.mark.parametrize(
        ("mean", "verdict"), [(2.0, Verdict.HOLDS), (1.2, Verdict.UNDECIDED), (4.0, Verdict.FAILS)]
    )
    def test_a_range(self, mean, verdict):
        assert Part(mean_of(sample(mean)), low=1.0, high=3.0).verdict() == verdict

    def test_more_seeds_decide(self):
        assert Part(mean_of(sample(0.2)), low=0.0).verdict() == Verdict.UNDECIDED
        assert Part(mean_of(sample(0.2, seeds=500)), low=0.0).verdict() == Verdict.HOLDS

    def test_equal_values_are_not_above_each_other(self):
        assert Part(mean_of(np.zeros(5)), low=0.0).verdict() == Verdict.FAILS

    def test_pairing_decides_what_separate_intervals_do_not(self):
        world = sample(0.0, deviation=10.0)
        slow, fast = world + 1.0, world + sample(0.0, deviation=0.5, stream=1)
        assert Part(mean_of(slow) - mean_of(fast), low=0.0).verdict() == Verdict.HOLDS
        assert Part(mean_of(slow) - mean_of(fast[::-1]), low=0.0).verdict() == Verdict.UNDECIDED


class TestEvery:
    def test_all_must_hold(self):
        yes, no, open_ = above(1.0), above(-1.0), above(0.0)
        assert every([yes, yes]) == Verdict.HOLDS
        assert every([yes, open_]) == Verdict.UNDECIDED
        assert every([yes, open_, no]) == Verdict.FAILS

    def test_one_refutation_among_many_must_be_stronger(self):
        assert every([above(-0.35)]) == Verdict.FAILS
        assert every([above(-0.35), *[above(1.0)] * 19]) == Verdict.UNDECIDED

    def test_noise_seldom_refutes_a_claim_of_many_parts(self):
        rng = np.random.default_rng(1)
        refuted = 0
        for _ in range(200):
            parts = [Part(mean_of(values), low=0.0) for values in rng.normal(size=(8, 40))]
            refuted += every(parts) == Verdict.FAILS
        # Rejections at 2.5 % / 8 each, so 2.5 % of 200 are expected; at 2.5 % each it would be 37.
        assert refuted < 15

    def test_no_parts(self):
        with pytest.raises(ValueError, match="at least one part"):
            every([])


class TestSome:
    def test_one_is_enough(self):
        yes, no, open_ = above(1.0), above(-1.0), above(0.0)
        assert some([no, yes]) == Verdict.HOLDS
        assert some([no, open_]) == Verdict.UNDECIDED
        assert some([no, no]) == Verdict.FAILS

    def test_one_support_among_many_must_be_stronger(self):
        assert some([above(0.35)]) == Verdict.HOLDS
        assert some([above(0.35), *[above(-1.0)] * 19]) == Verdict.UNDECIDED


class TestAcross:
    def test_where_all_agree_no_case_is_named(self):
        assert across({"a": [above(1.0)], "b": [above(1.0)]}) == (Verdict.HOLDS, "")

    def test_where_they_differ(self):
        yes, no, open_ = [above(1.0)], [above(-1.0)], [above(0.0)]
        assert across({"a": yes, "b": no, "c": yes}) == (Verdict.PARTLY, "holds: a, c; does not hold: b")
        assert across({"a": yes, "b": open_}) == (Verdict.UNDECIDED, "holds: a; undecided: b")
        assert across({"a": open_, "b": no}) == (Verdict.FAILS, "does not hold: b; undecided: a")

    def test_one_case_refutes_a_claim_about_all(self):
        cases = {"a": [above(1.0)], "b": [above(-1.0)]}
        assert across(cases, partly=False) == (Verdict.FAILS, "holds: a; does not hold: b")

    def test_a_refutation_is_as_strict_as_all_cases_together_need(self):
        weak, yes = [above(-0.35)], [above(1.0)]
        assert across({"a": weak})[0] == Verdict.FAILS
        assert across({"a": weak, **{f"{i}": yes for i in range(19)}})[0] == Verdict.UNDECIDED


class TestEstimates:
    def test_the_interval_is_that_of_all_tables(self):
        values = sample(3.0)
        found, tabled = spread(mean_of(values)), interval(values)
        assert (found.mean, found.low, found.high) == pytest.approx((tabled.mean, tabled.low, tabled.high))

    def test_a_ratio_is_of_means_and_not_a_mean_of_ratios(self):
        slow, fast = np.array([1.0, 9.0]), np.array([1.0, 1.0])
        assert spread(mean_of(slow) / mean_of(fast)).mean == pytest.approx(5.0)
        assert spread(mean_of(fast) / mean_of(slow)).mean == pytest.approx(0.2)

    def test_a_constant_ratio_has_no_spread(self):
        latency = sample(10.0)
        found = spread(mean_of(3.0 * latency) / mean_of(latency))
        assert found.mean == pytest.approx(3.0)
        assert found.half_width == pytest.approx(0.0, abs=1e-12)

    def test_the_interval_of_a_ratio_covers_it_as_often_as_it_says(self):
        rng = np.random.default_rng(2)
        covered = 0
        for _ in range(300):
            world = rng.normal(10.0, 2.0, 60)
            base, policy = 2.0 * world + rng.normal(0.0, 1.0, 60), world + rng.normal(0.0, 1.0, 60)
            found = spread(mean_of(base) / mean_of(policy))
            covered += found.low < 2.0 < found.high
        assert 0.90 < covered / 300 < 0.98

    def test_one_seed(self):
        with pytest.raises(ValueError, match="at least 2"):
            mean_of(np.array([1.0]))


class TestTrends:
    def test_falling_and_rising(self):
        down = [mean_of(sample(mean)) for mean in (3.0, 2.0, 1.0)]
        assert every(falling(down)) == Verdict.HOLDS
        assert every(rising(down)) == Verdict.FAILS
        assert every(falling(down[::-1])) == Verdict.FAILS
        assert every(rising(down[::-1])) == Verdict.HOLDS

    def test_noise_has_no_trend(self):
        rng = np.random.default_rng(3)
        level = [mean_of(rng.normal(10.0, 3.0, 20)) for _ in range(5)]
        assert every(falling(level)) == Verdict.UNDECIDED
        assert every(rising(level)) == Verdict.UNDECIDED

    @pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
    def test_values_that_are_equal_up_to_rounding_have_no_trend(self, unit):
        level = unit * sample(10.0, seeds=30)
        rounded = [mean_of(level * (1.0 + 1e-15 * sample(0.0, seeds=30, stream=stream))) for stream in range(3)]
        assert not (rounded[0] == rounded[1]).all()
        assert every(falling(rounded)) == Verdict.FAILS
        assert every(rising(rounded)) == Verdict.FAILS

    def test_a_small_change_above_rounding_is_a_trend(self):
        level = sample(10.0, seeds=30)
        growing = [mean_of(level * (1.0 + step * 1e-8)) for step in range(3)]
        assert every(rising(growing)) == Verdict.HOLDS
        assert every(falling(growing)) == Verdict.FAILS

    @pytest.mark.parametrize(
        ("means", "deviation", "verdict"),
        [
            ((10.0, 10.5, 9.5), 0.1, Verdict.HOLDS),
            ((5.0, 10.0, 15.0), 0.1, Verdict.FAILS),
            ((10.0, 11.0, 9.0), 20.0, Verdict.UNDECIDED),
        ],
    )
    def test_flat(self, means, deviation, verdict):
        series = [mean_of(sample(mean, deviation, stream=stream)) for stream, mean in enumerate(means)]
        assert every(flat(series, 0.2)) == verdict


class TestClaims:
    def test_cases_that_differ_are_named_before_the_numbers(self):
        assert judge("x", {"a": [above(1.0)], "b": [above(-1.0)]}, "1, 2") == Claim(
            "x", Verdict.PARTLY, "holds: a; does not hold: b. 1, 2"
        )

    def test_one_exception_refutes_never(self):
        assert counted("x", 0, "").verdict == Verdict.HOLDS
        assert counted("x", 1, "").verdict == Verdict.FAILS

    def test_the_table_stresses_what_does_not_hold(self):
        lines = claims_table([Claim("a", Verdict.HOLDS, "1"), Claim("b", Verdict.UNDECIDED, "2")])
        assert lines[2:4] == ["| a | holds | 1 |", "| b | **undecided** | 2 |"]
