"""The relaxed descent, its rounding, Li-GD and Algorithm 1 as printed against automatic derivatives and the loops."""

from typing import Any

import numpy as np
import pytest

from edge_envs.eccnoma.solvers import api
from tests.eccnoma.solvers import reference_radio as oracle
from tests.eccnoma.solvers.problems import (
    DIRECTIONS,
    Direction,
    Floats,
    Ints,
    Radio,
    active,
    network,
    one_hot,
    random_point,
    random_radio,
)
from tests.eccnoma.solvers.test_assignment import assert_sound, crowds, problem

EXACT = 1e-12
SHAPE = (10, 2, 4)

in_directions = pytest.mark.parametrize("direction", DIRECTIONS)


def assert_relaxed(radio: Radio, found: api.Relaxed, label: object) -> None:
    """Betas on the simplex, powers in range, costs that never rise and are those of the loops."""
    busy = active(radio)
    assert found.beta.shape == (len(radio.ap), len(radio.gain))
    assert (found.beta >= 0.0).all(), label
    np.testing.assert_allclose(found.beta[busy].sum(axis=1), 1.0, rtol=1e-12, err_msg=str(label))
    assert (found.beta[~busy] == 0.0).all(), label
    assert (found.power_w[busy] >= radio.power_min_w * (1.0 - EXACT)).all(), label
    assert (found.power_w[busy] <= radio.power_max_w * (1.0 + EXACT)).all(), label
    assert (np.diff(found.history) <= 0.0).all(), label
    assert found.history[0] == found.start_cost
    assert found.history[-1] == found.cost
    assert found.cost == pytest.approx(oracle.cost(radio, found.beta, found.power_w), rel=EXACT), label


def round_by_hand(radio: Radio, beta: Floats) -> Ints:
    """Users in falling largest beta, each on its largest beta with room at its access point."""
    subchannel = np.full(len(radio.ap), -1)
    count = np.zeros((radio.gain.shape[2], len(radio.gain)), dtype=np.int64)
    busy = [int(i) for i in np.flatnonzero(active(radio))]
    for i in sorted(busy, key=lambda i: (-beta[i].max(), i)):
        open_to = [m for m in range(len(radio.gain)) if count[radio.ap[i], m] < radio.capacity]
        subchannel[i] = max(open_to, key=lambda m: (beta[i, m], -m))
        count[radio.ap[i], subchannel[i]] += 1
    return subchannel


class TestRelax:
    @in_directions
    def test_sound(self, direction):
        for seed in range(40):
            radio = random_radio(seed, direction)
            found = api.relax(problem(radio), iterations=120)
            assert_relaxed(radio, found, seed)
            assert found.iterations <= 120

    @in_directions
    def test_certificates(self, direction):
        """Both are what automatic derivatives say, also far from the optimum."""
        pytest.importorskip("torch")
        for seed in range(40):
            radio = random_radio(seed, direction)
            found = api.relax(problem(radio), iterations=[3, 40, 400][seed % 3])
            gap = oracle.simplex_gap(radio, found.beta, found.power_w)
            assert found.gap == pytest.approx(gap, rel=1e-6, abs=1e-9), seed
            assert found.gap >= 0.0
            own = oracle.power_residual(radio, found.beta, found.power_w)
            assert found.residual == pytest.approx(own, rel=1e-3, abs=1e-9), seed

    def test_converges(self):
        """With a tight tolerance both certificates become small."""
        gaps, residuals = [], []
        for seed in range(10):
            found = api.relax(problem(network(seed, SHAPE)), tolerance=1e-9, iterations=5000)
            gaps.append(found.gap)
            residuals.append(found.residual)
        assert np.max(gaps) <= 1e-3
        assert np.max(residuals) <= 1e-2

    @pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7])
    def test_tolerance(self, tolerance):
        """It ends with the first two falls in a row that are smaller than the tolerance, and not before."""
        for seed in range(6):
            found = api.relax(problem(network(seed, SHAPE)), tolerance=tolerance, iterations=5000)
            assert found.iterations < 5000
            small = -np.diff(found.history) < tolerance * found.history[:-1]
            assert small[-2:].all()
            assert not (small[:-2] & small[1:-1]).any()

    def test_single_subchannel(self):
        """Then only the powers are left, and they end where tuning them ends."""
        for seed in range(10):
            radio = network(seed, (4, 2, 1), capacity=4)
            found = api.relax(problem(radio), tolerance=1e-12, iterations=5000)
            assert (found.beta == 1.0).all()
            tuned = api.tune_powers(problem(radio), np.zeros(4, dtype=np.int64), found.power_w)
            assert found.cost == pytest.approx(tuned.cost, rel=1e-6)

    def test_start(self):
        """From a given start it begins at the start's cost."""
        for seed in range(20):
            radio = random_radio(seed)
            beta, power_w = random_point(radio, seed)
            kept = beta.copy(), power_w.copy()
            found = api.relax(problem(radio), start=(beta, power_w), iterations=20)
            assert_relaxed(radio, found, seed)
            assert found.start_cost == pytest.approx(oracle.cost(radio, beta, power_w), rel=1e-9), seed
            assert np.array_equal(beta, kept[0])
            assert np.array_equal(power_w, kept[1])

    def test_leaves_a_vertex(self):
        """From all users on the worst subchannel it finds back, though all other shares begin at nothing."""
        for seed in range(6):
            radio = network(seed, SHAPE)
            own = radio.gain[:, np.arange(SHAPE[0]), radio.ap]
            start = one_hot(radio, own.argmin(axis=0)), np.full(SHAPE[0], radio.power_max_w)
            found = api.relax(problem(radio), start=start, tolerance=1e-8, iterations=3000)
            assert found.cost <= 0.5 * found.start_cost
            assert found.cost <= 2.2 * api.relax(problem(radio), tolerance=1e-8, iterations=3000).cost

    def test_scale(self):
        """Work or bandwidth times a power of two changes no iterate."""
        radio = random_radio(14, silent=False)
        once = api.relax(problem(radio), iterations=60)
        times = radio._replace(bits=radio.bits * 2.0**40, bandwidth_hz=radio.bandwidth_hz * 2.0**-20)
        again = api.relax(problem(times), iterations=60)
        np.testing.assert_allclose(again.beta, once.beta, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(again.power_w, once.power_w, rtol=1e-9)
        assert again.cost == pytest.approx(once.cost * 2.0**60, rel=1e-9)

    def test_all_silent(self):
        found = api.relax(problem(random_radio(4)._replace(bits=np.zeros(6))))
        assert (found.beta == 0.0).all()
        assert (found.cost, found.gap, found.residual, found.iterations) == (0.0, 0.0, 0.0, 0)


class TestRounding:
    @in_directions
    def test_rule(self, direction):
        for seed in range(40):
            radio = random_radio(seed, direction)
            beta, power_w = random_point(radio, seed)
            found = api.round_relaxed(problem(radio), beta, power_w)
            assert_sound(radio, found, seed)
            assert crowds(radio, found.subchannel).max() <= radio.capacity
            assert found.subchannel.tolist() == round_by_hand(radio, beta).tolist()
            start = oracle.cost(radio, one_hot(radio, found.subchannel), power_w)
            assert found.start_cost == pytest.approx(start, rel=1e-11), seed
            assert found.cost <= start * (1.0 + EXACT)

    def test_ties(self):
        """Of users with equal largest betas the first chooses first, and of its equal betas it takes the first."""
        for seed in range(20):
            radio = random_radio(seed, shape=(8, 2, 3), silent=False)
            beta, power_w = random_point(radio, seed)
            coarse = np.round(2.0 * beta)
            coarse = (coarse + 1.0) / (coarse + 1.0).sum(axis=1, keepdims=True)
            found = api.round_relaxed(problem(radio), coarse, power_w)
            assert found.subchannel.tolist() == round_by_hand(radio, coarse).tolist()

    def test_little_is_lost(self):
        """The relaxed optimum is almost a vertex: rounding and tuning costs little on average, at most some."""
        lost = []
        for seed in range(12):
            radio = network(seed, SHAPE)
            relaxed = api.relax(problem(radio))
            found = api.round_relaxed(problem(radio), relaxed.beta, relaxed.power_w)
            lost.append(found.cost / relaxed.cost - 1.0)
        assert np.mean(lost) <= 0.05

    def test_capacity(self):
        radio = random_radio(1, shape=(7, 1, 3), silent=False)._replace(capacity=2)
        beta, power_w = random_point(radio, 1)
        with pytest.raises(ValueError, match="capacity"):
            api.round_relaxed(problem(radio), beta, power_w)
        found = api.round_relaxed(problem(radio), beta, power_w, spread=True)
        assert crowds(radio, found.subchannel).max() == 3
        assert found.overflow == np.maximum(crowds(radio, found.subchannel) - 2, 0).sum() >= 1


class Cuts:
    """A network with a table of cuts for Li-GD: what is sent at each, and what computing costs there."""

    def __init__(self, seed: int, cuts: int = 5, common: bool = True) -> None:
        rng = np.random.default_rng([500, seed])
        up = network(seed, SHAPE)
        self.up = up._replace(power_min_w=1e-3)
        self.down = self.up._replace(direction="downlink", gain=self.up.gain[::-1].copy(), power_max_w=1.0)
        base = rng.uniform(0.5, 2.0, SHAPE[0]) if not common else np.ones(SHAPE[0])
        self.bits = 1e4 * base[:, None] * 10.0 ** rng.uniform(-0.5, 1.0, cuts)
        if not common:
            self.bits *= 10.0 ** rng.uniform(-0.3, 0.3, self.bits.shape)
        self.result_bits = np.full(SHAPE[0], 320.0)
        self.fixed = rng.uniform(0.0, 0.1, cuts)

    def solve(self, **options: Any) -> api.LiGD:
        """Li-GD on it."""
        return api.li_gd(problem(self.up), problem(self.down), self.bits, self.result_bits, self.fixed, **options)

    def printed(self, **options: Any) -> api.Printed:
        """Algorithm 1 as printed on it."""
        return api.li_gd_printed(
            problem(self.up), problem(self.down), self.bits, self.result_bits, self.fixed, **options
        )

    def at(self, j: int, direction: Direction) -> Radio:
        """The uplink or the downlink at one cut."""
        if direction == "uplink":
            return self.up._replace(bits=self.bits[:, j])
        return self.down._replace(bits=np.where(self.bits[:, j] > 0.0, self.result_bits, 0.0))


class TestLiGD:
    @pytest.mark.parametrize("warm", [True, False])
    @pytest.mark.parametrize("common", [True, False])
    def test_costs(self, warm, common):
        """Those of the loops at the betas and powers that are returned, and the best is the least."""
        for seed in range(4):
            cuts = Cuts(seed, common=common)
            cuts.bits[::3, 2] = 0.0
            found = cuts.solve(warm=warm)
            assert found.best == int(np.argmin(found.costs))
            assert found.costs.shape == found.iterations.shape == (5,)
            for j in range(5):
                up, down = found.uplink[j], found.downlink[j]
                assert up is not None
                assert down is not None
                assert_relaxed(cuts.at(j, "uplink"), up, (seed, j))
                assert_relaxed(cuts.at(j, "downlink"), down, (seed, j))
                total = (
                    cuts.fixed[j]
                    + oracle.cost(cuts.at(j, "uplink"), up.beta, up.power_w)
                    + oracle.cost(cuts.at(j, "downlink"), down.beta, down.power_w)
                )
                assert found.costs[j] == pytest.approx(total, rel=1e-11)

    def test_minimiser_is_the_same_for_all_cuts(self):
        """With equal networks a cut only scales the work: from one cold start all cuts end at the same point."""
        for seed in range(3):
            found = Cuts(seed).solve(warm=False)
            assert len(set(found.iterations.tolist())) == 1
            first = found.uplink[0]
            assert first is not None
            for other in found.uplink[1:]:
                assert other is not None
                np.testing.assert_allclose(other.beta, first.beta, rtol=1e-6, atol=1e-9)
                np.testing.assert_allclose(other.power_w, first.power_w, rtol=1e-6)

    @pytest.mark.parametrize("common", [True, False])
    def test_warm_against_cold(self, common):
        """Less than half the iterations, and a similar cost at the best cut: with mixed networks other local optima."""
        fewer, differences = [], []
        for seed in range(6):
            cuts = Cuts(seed, cuts=8, common=common)
            warm, cold = cuts.solve(warm=True), cuts.solve(warm=False)
            fewer.append(warm.iterations.sum() / cold.iterations.sum())
            differences.append(warm.costs.min() / cold.costs.min() - 1.0)
        assert max(fewer) < 0.4
        if common:
            # The later cuts of a warm run go on where the first ended, so that it can only be better.
            assert np.max(differences) <= 1e-9
            assert np.min(differences) >= -0.05
        else:
            assert np.abs(differences).max() <= 0.3
            assert np.abs(differences).mean() <= 0.1

    def test_first_cut_is_cold(self):
        """The first solve knows nothing of the others."""
        cuts = Cuts(1)
        warm, cold = cuts.solve(warm=True), cuts.solve(warm=False)
        assert warm.costs[0] == cold.costs[0]
        assert warm.iterations[0] == cold.iterations[0]

    def test_warm_start(self):
        """A cut begins where the one before ended; who was silent there begins with equal shares and full power."""
        cuts = Cuts(4)
        cuts.bits[3, 0] = 0.0
        found = cuts.solve(iterations=30)
        before, after = found.uplink[0], found.uplink[1]
        assert before is not None
        assert after is not None
        beta, power_w = before.beta.copy(), before.power_w.copy()
        beta[3], power_w[3] = 1.0 / SHAPE[2], cuts.up.power_max_w
        start = oracle.cost(cuts.at(1, "uplink"), beta, power_w)
        assert after.start_cost == pytest.approx(start, rel=1e-9)

    @pytest.mark.parametrize("warm", [True, False])
    def test_silent_cut(self, warm):
        """Where nobody sends, the cost is what computing costs; the cuts around it are solved all the same."""
        cuts = Cuts(2)
        cuts.bits[:, 1] = 0.0
        found = cuts.solve(warm=warm)
        assert found.costs[1] == cuts.fixed[1]
        assert found.iterations[1] == 0
        assert found.costs[2] > cuts.fixed[2]
        cuts.bits[:] = 0.0
        found = cuts.solve(warm=warm)
        assert found.costs.tolist() == cuts.fixed.tolist()
        assert found.best == int(np.argmin(cuts.fixed))

    def test_first_cut_can_win(self):
        """Edge-Only is among the cuts, unlike in the printed loop."""
        cuts = Cuts(3)
        cuts.fixed[:] = 1e3
        cuts.fixed[0] = 0.0
        assert cuts.solve().best == 0
        printed = cuts.printed(iterations=30)
        assert printed.best >= 1
        assert cuts.solve().costs[0] < printed.costs[printed.best]


class TestPrinted:
    def test_shapes_and_best(self):
        cuts = Cuts(0)
        found = cuts.printed(iterations=50)
        assert found.best >= 1
        assert found.best == 1 + int(np.argmin(found.costs[1:]))
        assert found.chosen_per_user.shape == (SHAPE[0],)
        assert ((found.chosen_per_user >= 0) & (found.chosen_per_user <= SHAPE[2])).all()
        assert (np.asarray(found.increases) >= 0).all()
        assert (found.costs[1:] > cuts.fixed[1:]).all()

    def test_against_loops(self):
        """A few of its steps, with automatic derivatives: shares in a box, raw powers, each cut from the one before."""
        pytest.importorskip("torch")
        cuts, step = Cuts(1, cuts=3), 1e-3
        found = cuts.printed(step=step, iterations=4)
        costs = cuts.fixed.copy()
        for direction in ("uplink", "downlink"):
            radio = cuts.at(0, direction)
            beta, power_w = np.full((SHAPE[0], SHAPE[2]), 0.5), np.full(SHAPE[0], 0.5)
            power_w *= radio.power_min_w + radio.power_max_w
            for j in (1, 2):
                radio = cuts.at(j, direction)
                for _ in range(4):
                    _, by_beta, by_power = oracle.gradient(radio, beta, power_w)
                    beta = np.clip(beta - step * by_beta, 0.0, 1.0)
                    power_w = np.clip(power_w - step * by_power, radio.power_min_w, radio.power_max_w)
                costs[j] += oracle.cost(radio, beta, power_w)
        assert found.costs[1:] == pytest.approx(costs[1:], rel=1e-9)

    def test_no_step_size_is_right(self):
        """Small steps barely move, large ones end at nothing sent, and none comes near what Li-GD finds."""
        for seed in range(4):
            cuts = Cuts(seed)
            reached = {step: cuts.printed(step=step, iterations=200) for step in (1e-6, 1e-4, 1e-2, 1e0, 1e2)}
            best = {step: found.costs[1:].min() for step, found in reached.items()}
            assert min(best.values()) > 1.1 * cuts.solve().costs[1:].min()
            assert best[1e-6] > 1.5 * cuts.solve().costs[1:].min()
            assert best[1e2] > 1e6 * best[1e-6]
            assert reached[1e2].increases[1:].sum() > 10 * (1 + reached[1e-6].increases[1:].sum())

    def test_threshold_fails(self):
        """Hardly a user ends with exactly one subchannel above one half."""
        single = [np.mean(Cuts(seed).printed(iterations=300).chosen_per_user == 1) for seed in range(4)]
        assert np.mean(single) < 0.5
