"""Bootstrap intervals against scipy, by hand, and by how often they hold the truth."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy import stats

from agents.evaluation import bootstrap
from agents.evaluation.bootstrap import Resampled, middle, normalised, ranks, summarise
from agents.evaluation.episodes import Scores
from agents.evaluation.statistics import RESAMPLES, UNIT_DRAWS, Interval, draws, interval


def scores(values: Any, name: str = "cost") -> Scores:
    """Scores of one run and one seed, or of the runs, seeds and episodes given."""
    array = np.asarray(values, dtype=np.float64)
    return Scores({name: array if array.ndim == 3 else array.reshape(1, 1, -1)})


def summary(*tables: Any) -> list[bootstrap.Summary]:
    return list(summarise({f"{number}": scores(table) for number, table in enumerate(tables)}, "cost").values())


def near(ours: Interval, theirs: Any, width: float) -> bool:
    """Return True if both ends agree to a part of the interval's width, as two sets of resamples do."""
    return bool(max(abs(ours.low - theirs.low), abs(ours.high - theirs.high)) < width * (theirs.high - theirs.low))


@pytest.mark.parametrize("count", [15, 40, 80])
def test_the_mean_against_scipy(count):
    values = np.random.default_rng(count).exponential(size=count)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=1).confidence_interval
    ours = summary(values)[0].mean
    assert ours.mean == pytest.approx(values.mean())
    assert near(ours, theirs, 0.05)


def test_the_difference_against_scipy():
    rng = np.random.default_rng(0)
    first = rng.exponential(size=40)
    second = 1.5 * first + 0.3 * rng.normal(size=40)
    theirs = stats.bootstrap((second - first,), np.mean, n_resamples=20000, method="percentile", rng=1)
    ours = summary(first, second)[1].difference
    assert ours.mean == pytest.approx((second - first).mean())
    assert near(ours, theirs.confidence_interval, 0.05)


def test_the_interquartile_mean_against_scipy():
    """One episode for each seed, so that scipy's resamples are of the same units."""
    values = np.random.default_rng(3).standard_t(2, size=(1, 40, 1))

    def iqm(sample: Any, axis: int = -1) -> Any:
        return stats.trim_mean(sample, 0.25, axis=axis)

    theirs = stats.bootstrap((values.ravel(),), iqm, n_resamples=20000, method="percentile", rng=1)
    ours = summary(values)[0].iqm
    assert ours.mean == pytest.approx(iqm(values.ravel()))
    assert near(ours, theirs.confidence_interval, 0.05)


def test_the_interquartile_mean_by_hand():
    for few, expected in (
        ([3.0], 3.0), ([1.0, 2.0], 1.5), ([9.0, -30.0, 6.0], -5.0),  # a quarter of three is none
        ([5.0, 1.0, 2.0, -9.0], 1.5), ([100.0, 1.0, 3.0, 2.0, -7.0], 2.0),
        ([7.0, 0.0, 50.0, 1.0, 2.0, 3.0, 4.0], (1.0 + 2.0 + 3.0 + 4.0 + 7.0) / 5),
    ):  # fmt: skip
        assert middle(np.array(few)) == pytest.approx(expected)
    # Means by seed: 1, 2, 3, 4, and 100 twice, of which one at either end is left out.
    values = np.array([[[0.0, 2.0], [1.0, 3.0], [100.0, 100.0]], [[3.0, 3.0], [4.0, 4.0], [99.0, 101.0]]])
    assert summary(values)[0].iqm.mean == pytest.approx((2 + 3 + 4 + 100) / 4)
    assert summary(values)[0].mean.mean == pytest.approx(values.mean())


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 10, 11, 12, 25, 60])
def test_the_interquartile_mean_is_that_of_scipy(count):
    """As rliable's, which calls it; and as the definition has it."""
    values = np.random.default_rng(count).normal(size=(3, count))
    ours, cut = middle(values), count // 4
    np.testing.assert_array_equal(ours, stats.trim_mean(values, 0.25, axis=1))
    np.testing.assert_allclose(ours, np.sort(values, axis=1)[:, cut : count - cut].mean(axis=1))
    assert summary(values[0].reshape(1, count, 1))[0].iqm.mean == ours[0]


def test_an_interquartile_mean_of_what_is_not_finite():
    assert middle(np.array([-np.inf, 1.0, 2.0, np.inf])) == 1.5
    assert middle(np.array([1.0, 2.0, np.inf])) == np.inf
    assert np.isnan(middle(np.array([1.0, 2.0, 3.0, np.nan])))


@pytest.mark.filterwarnings("error")
def test_a_metric_that_is_not_defined_has_no_interval():
    """As a certificate where nothing is certified; in one policy, and in one episode of another."""
    nothing, once = np.full((2, 3, 2), np.nan), np.ones((2, 3, 2))
    once[1, 0, 1] = np.nan
    for first, second in ((nothing, np.ones((2, 3, 2))), (once, nothing), (nothing, nothing)):
        for found in summary(first, second):
            for part in (found.mean, found.iqm):
                assert np.isnan([part.mean, part.low, part.high]).all() or part == Interval(1.0, 1.0, 1.0)
        assert np.isnan(summary(first, second)[1].difference.mean)
    assert np.isnan(interval([1.0, np.nan]).half_width)


def test_memory_stays_small_and_pieces_change_nothing(monkeypatch):
    values = np.random.default_rng(0).normal(size=(5, 20, 40))
    Resampled(values)  # the draws are kept from here on
    tracemalloc.start()
    whole = Resampled(values).by_seed
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # all at once they are 64 MB
    monkeypatch.setattr(bootstrap, "CHUNK", 37 * 4000)
    np.testing.assert_array_equal(Resampled(values).by_seed, whole)
    np.testing.assert_array_equal(whole[1234], values.reshape(5, -1)[
        draws(bootstrap.RUN_DRAWS, 5, (RESAMPLES, 5, 1))[1234],
        draws(UNIT_DRAWS, 800, (RESAMPLES, 1, 800))[1234],
    ].reshape(100, 40).mean(axis=1))  # fmt: skip


def test_two_episodes_by_hand():
    """Resamples are both, the first twice, or the second twice."""
    own = Resampled(np.array([[[0.0, 1.0]]]))
    found, counts = np.unique(own.means, return_counts=True)
    assert found.tolist() == [0.0, 0.5, 1.0]
    np.testing.assert_allclose(counts / len(own.means), [0.25, 0.5, 0.25], atol=0.05)
    assert summary([0.0, 1.0])[0].mean == Interval(0.5, 0.0, 1.0)


def test_one_episode_has_no_interval():
    (only,) = summary([2.0])
    assert only.mean == only.iqm == Interval(2.0, -np.inf, np.inf)
    assert summary([2.0], [3.0])[1].difference == Interval(1.0, -np.inf, np.inf)
    assert summary(np.array([[[2.0]], [[4.0]]]))[0].mean == Interval(3.0, -np.inf, np.inf)


def test_differences_are_paired():
    """Worlds spread by 100, the policies in them by nothing."""
    worlds = 100.0 * np.random.default_rng(0).normal(size=20)
    first, second = summary(worlds, worlds + 1.0)
    assert first.difference == Interval(0.0, 0.0, 0.0)
    assert second.difference.mean == pytest.approx(1.0)
    assert (second.difference.low, second.difference.high) == (pytest.approx(1.0), pytest.approx(1.0))
    assert second.mean.high - second.mean.low > 50.0
    apart = summary(worlds, worlds[::-1] + 1.0)[1].difference
    assert apart.high - apart.low > 50.0


def test_an_interval_does_not_depend_on_the_other_policies():
    rng = np.random.default_rng(0)
    one, two, three = rng.normal(size=(3, 3, 2, 4))
    alone, among = summary(two)[0], summary(one, three, two)[2]
    assert (alone.mean, alone.iqm) == (among.mean, among.iqm)
    assert summary(one, two)[1].difference == summary(one, three, two)[2].difference
    assert summary(one, two) == summary(one, two)


def test_runs_that_agree_count_as_one():
    values = np.random.default_rng(0).normal(size=(1, 5, 4))
    one, three = summary(values)[0].mean, summary(np.repeat(values, 3, axis=0))[0].mean
    assert (one.mean, one.low, one.high) == pytest.approx((three.mean, three.low, three.high))


def test_runs_are_resampled_too():
    """Runs that differ by far more than the episodes: the interval is that of the runs' means."""
    rng = np.random.default_rng(0)
    runs = rng.normal(size=12)
    values = runs[:, None, None] + 0.01 * rng.normal(size=(12, 5, 4))
    theirs = stats.bootstrap((runs,), np.mean, n_resamples=20000, method="percentile", rng=1).confidence_interval
    first, second = summary(np.zeros((1, 5, 4)), values)
    assert near(second.mean, theirs, 0.05)
    assert near(second.difference, theirs, 0.05)
    assert first.mean == Interval(0.0, 0.0, 0.0)


def test_runs_of_a_policy_and_of_the_first_are_drawn_apart():
    """The same numbers in two entries: their runs are not the same runs, so the difference is uncertain."""
    values = np.random.default_rng(0).normal(size=(6, 1, 1)) + np.zeros((6, 5, 4))
    gap = summary(values, values)[1].difference
    assert gap.mean == 0.0
    assert gap.high - gap.low > 0.5


@pytest.mark.parametrize(("runs", "noise"), [(1, 0.0), (10, 1.0)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(monkeypatch, runs, noise):
    """Over 300 experiments; percentile intervals of few values are a little narrow."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 500)
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        values = noise * rng.normal(size=(runs, 1, 1)) + rng.normal(size=(1, 8, 5)) + rng.normal(size=(runs, 8, 5))
        interval = Resampled(values).mean()
        hits += interval.low <= 0.0 <= interval.high
    assert 0.87 <= hits / 300 <= 0.99


def test_what_is_not_finite_has_no_interval():
    for value in (np.nan, np.inf):
        interval = summary([1.0, value])[0].mean
        assert not np.isfinite(interval.mean)
        assert not np.isfinite(interval.half_width)


def test_draws_are_of_the_count_alone():
    np.testing.assert_array_equal(draws(1, 7, (50, 1, 7)), draws(1, 7, (50, 1, 7)))
    assert set(draws(1, 7, (50, 1, 7)).ravel().tolist()) == set(range(7))
    assert (draws(1, 7, (50, 7)) != draws(2, 7, (50, 7))).any()


def test_a_metric_that_not_all_have():
    results = {"a": Scores({"x": np.zeros((1, 1, 2))}), "b": scores([1.0, 2.0])}
    assert list(summarise(results, "x")) == ["a"]


def test_normalised_by_hand():
    worlds = np.random.default_rng(0).normal(size=30)
    results = {
        "middle": scores(worlds + 2.0), "floor": scores(worlds), "top": scores(worlds + 8.0),
        "worse": scores(worlds - 4.0), "rough": scores(worlds + 2.0 + np.random.default_rng(1).normal(size=30)),
    }  # fmt: skip
    found = normalised(results, "cost", "floor", "top")
    assert found is not None
    assert set(found) == set(results)
    for label, value in (("middle", 0.25), ("worse", -0.5)):
        assert (found[label].mean, found[label].low, found[label].high) == pytest.approx((value,) * 3)
    assert found["floor"] == Interval(0.0, 0.0, 0.0)
    assert found["top"] == Interval(1.0, 1.0, 1.0)
    rough = found["rough"]
    assert rough.low < rough.mean < rough.high
    assert rough.mean == pytest.approx((results["rough"]["cost"].mean() - worlds.mean()) / 8.0)
    gap = stats.bootstrap((results["rough"].episodes["cost"].ravel() - worlds,), np.mean, method="percentile", rng=1)
    assert near(Interval(0.0, 8.0 * rough.low, 8.0 * rough.high), gap.confidence_interval, 0.1)


def test_no_interval_of_a_score_where_the_bar_may_be_no_better():
    """In one of two worlds the strongest baseline is worse: a resample of it alone inverts the scale."""
    results = {"floor": scores([0.0, 0.0]), "top": scores([3.0, -1.0]), "middle": scores([0.5, 0.5])}
    found = normalised(results, "cost", "floor", "top")
    assert found is not None
    assert found["middle"].mean == 0.5
    assert np.isnan([found["middle"].low, found["middle"].high]).all()
    level = normalised({**results, "top": scores([4.0, 0.0])}, "cost", "floor", "top")
    assert level is not None
    assert np.isnan(level["middle"].low)


@pytest.mark.parametrize("top", [0.0, -1.0])
def test_no_scale_without_a_gap(top):
    results = {"floor": scores([0.0, 0.0]), "top": scores([top, top])}
    assert normalised(results, "cost", "floor", "top") is None


def test_ranks():
    assert ranks({"a": -3.0, "b": 2.0, "c": 2.0, "d": 0.5}) == {"a": 4, "b": 1, "c": 1, "d": 3}
    assert ranks({}) == {}
