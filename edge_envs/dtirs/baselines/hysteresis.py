"""Rules with two cuts: a device offloads at the early cut while a signal is good, and computes at the late one else.

The signal is the gain in dB, of the next frame or its mean over forecasts, plus a bonus while other load takes a part
of the device's speed. With hysteresis, a device changes its cut only if the signal leaves a band between two
thresholds. All parameters are found by a random search on episodes of their own (see `planning.search_traces`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import FastCall, compiled
from edge_envs.core.rules import Env, WorldPolicy
from edge_envs.dtirs.baselines.planning import SEARCH_STREAM, search_traces
from edge_envs.dtirs.bounds import Trace
from edge_envs.dtirs.model.observation import write_forecasts
from edge_envs.dtirs.solvers.cut_paths import CutProblem, paths_cost

FloatArray = NDArray[np.float64]
TRIES, REFINEMENTS = 1200, 600
"""Random parameters that a search tries, and random changes of the best ones; chosen."""
BUSY_DB_MAX, BAND_DB_MAX = 15.0, 20.0
"""Largest bonus of a busy device and largest width of the band that a search tries first; chosen."""
FAST_FORECASTS = FastCall(write_forecasts)


class TwoCuts(NamedTuple):
    """Parameters of a rule."""

    good: int  # index of the cut while the signal is good
    bad: int
    low_db: float  # below this signal a device changes to `bad`
    high_db: float  # above this signal a device changes to `good`
    busy_db: float  # bonus of a busy device
    ahead: int  # forecasts that the signal averages with the present gain


@compiled
def two_cuts(held: int, signal_db: float, good: int, bad: int, low_db: float, high_db: float) -> int:
    """Next cut of a device; a device with another cut compares the signal with the middle of the band."""
    if signal_db > high_db:
        return good
    if signal_db < low_db:
        return bad
    if held in (good, bad):
        return held
    return good if signal_db > 0.5 * (low_db + high_db) else bad


@compiled
def rule_cost(q: CutProblem, signal_db: FloatArray, good: int, bad: int, low_db: float, high_db: float) -> float:
    """Cost of a rule [s] in an episode with signals (T, K)."""
    frames, devices = signal_db.shape
    paths = np.empty((frames, devices), dtype=np.int64)
    for k in range(devices):
        held = q.first[k]
        for t in range(frames):
            held = two_cuts(held, signal_db[t, k], good, bad, low_db, high_db)
            paths[t, k] = held
    return paths_cost(q, paths)


def signal_of(gain_db: FloatArray, forecast_db: FloatArray, busy: NDArray[np.bool_], rule: TwoCuts) -> FloatArray:
    """Signals (..., K) of gains (..., K), their forecasts (..., K, F) and loads (..., K)."""
    ahead = forecast_db[..., : rule.ahead].sum(axis=-1)
    signal: FloatArray = (gain_db + ahead) / (1 + rule.ahead) + rule.busy_db * busy
    return signal


def value_of(rule: TwoCuts, traces: list[Trace]) -> float:
    """Cost of a rule on recorded episodes [s]."""
    total = 0.0
    for trace in traces:
        signal = signal_of(trace.gain_db, trace.forecast_db, trace.busy, rule)
        total += rule_cost(trace.problem, signal, rule.good, rule.bad, rule.low_db, rule.high_db)
    return total


def search(traces: list[Trace], rng: Generator, hysteresis: bool, forecast: bool) -> TwoCuts:
    """The best of random rules, then of random changes of the best one."""
    gains = np.concatenate([trace.gain_db.ravel() for trace in traces])
    choices, forecasts = len(traces[0].problem.bits), traces[0].forecast_db.shape[2]

    def valid(rule: TwoCuts) -> TwoCuts:
        high = max(rule.high_db, rule.low_db) if hysteresis else rule.low_db
        return rule._replace(high_db=high, busy_db=max(rule.busy_db, 0.0))

    def random_rule() -> TwoCuts:
        good, bad = np.sort(rng.choice(choices, size=2, replace=False)).tolist()
        low = float(rng.choice(gains))
        width, bonus = rng.random(2) * (BAND_DB_MAX, BUSY_DB_MAX)
        ahead = int(rng.integers(1, forecasts + 1)) if forecast else 0
        return valid(TwoCuts(good, bad, low, low + float(width), float(bonus), ahead))

    def changed(rule: TwoCuts) -> TwoCuts:
        low, high, bonus = rng.normal((rule.low_db, rule.high_db, rule.busy_db), 1.5)
        ahead = int(np.clip(rule.ahead + rng.integers(-1, 2), 1, forecasts)) if forecast else 0
        return valid(rule._replace(low_db=float(low), high_db=float(high), busy_db=float(bonus), ahead=ahead))

    best = min((random_rule() for _ in range(TRIES)), key=lambda rule: value_of(rule, traces))
    least = value_of(best, traces)
    for _ in range(REFINEMENTS):
        tried = changed(best)
        value = value_of(tried, traces)
        if value < least:
            best, least = tried, value
    return best


class TwoCutPolicy(WorldPolicy):
    """Plays a rule; the held cut is its memory."""

    def __init__(self, env: Env, rule: TwoCuts) -> None:
        super().__init__(env)
        self.rule = rule

    def action(self, row: int) -> NDArray[Any]:
        """The rule's cuts (K,) for the next frame of a world."""
        p, s, rule = self.env.system.parameters, self.env.state, self.rule
        forecasts = np.zeros((p.num_devices, len(p.forecast_frames)))
        FAST_FORECASTS(p, s, row, forecasts)
        gain_db = 10.0 * np.log10(s.gain_down[row])
        signal = signal_of(gain_db, 10.0 * np.log10(forecasts), s.load[row] < 1.0, rule)
        cuts = [
            two_cuts(held, signal_db, rule.good, rule.bad, rule.low_db, rule.high_db)
            for held, signal_db in zip(s.held[row].tolist(), signal.tolist(), strict=True)
        ]
        return np.array(cuts, dtype=np.int64)


def two_cut_rule(hysteresis: bool, forecast: bool, env: Env, seed: int) -> TwoCutPolicy:
    """Two cuts by a signal; its parameters are searched. Sees gain and load of each device, forecasts on request."""
    traces = search_traces(env.system, seed)
    rng = np.random.default_rng([SEARCH_STREAM, seed, int(hysteresis), int(forecast)])
    return TwoCutPolicy(env, search(traces, rng, hysteresis, forecast))
