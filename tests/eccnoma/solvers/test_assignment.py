"""The local search and the powers alone against brute force, scipy, the loops and their own certificates."""

import numpy as np
import pytest

from edge_envs.eccnoma.solvers import api
from tests.eccnoma.solvers import reference_radio as oracle
from tests.eccnoma.solvers.problems import (
    DIRECTIONS,
    Direction,
    Ints,
    Radio,
    active,
    network,
    one_hot,
    random_powers,
    random_radio,
    room,
)
from tests.eccnoma.solvers.reference_search import best_change, brute_force

EXACT = 1e-12
RESIDUAL = 2e-7
"""Largest residual of a power descent that was not cut short"""
TINY = 24
"""Tiny instances of each kind that brute force solves"""

in_directions = pytest.mark.parametrize("direction", DIRECTIONS)


def problem(radio: Radio) -> api.RadioProblem:
    """As the solvers want it."""
    return api.RadioProblem(**radio._asdict())


def assert_sound(radio: Radio, found: api.Assignment, label: object) -> None:
    """One subchannel for each user that sends, powers in range, and the numbers are those of the loops."""
    users, subchannels = len(radio.ap), len(radio.gain)
    assert found.subchannel.shape == found.power_w.shape == found.rate_bit_s.shape == (users,)
    assert (found.subchannel[~active(radio)] == -1).all(), label
    assert (found.subchannel[active(radio)] >= 0).all(), label
    assert (found.subchannel < subchannels).all(), label
    sent = found.power_w[active(radio)]
    assert (sent >= radio.power_min_w * (1.0 - EXACT)).all(), label
    assert (sent <= radio.power_max_w * (1.0 + EXACT)).all(), label
    beta = one_hot(radio, found.subchannel)
    np.testing.assert_allclose(
        found.rate_bit_s, oracle.rates(radio, beta, found.power_w), rtol=1e-11, err_msg=str(label)
    )
    assert found.cost == pytest.approx(oracle.cost(radio, beta, found.power_w), rel=EXACT), label


def crowds(radio: Radio, subchannel: Ints) -> Ints:
    """Users of each access point on each subchannel (N, M)."""
    count = np.zeros((radio.gain.shape[2], len(radio.gain)), dtype=np.int64)
    for i in np.flatnonzero(active(radio)):
        count[radio.ap[i], subchannel[i]] += 1
    return count


def tiny(kind: str, seed: int, direction: Direction) -> Radio:
    """Instances that brute force can solve: three or four users, two or three subchannels."""
    shape = [(4, 2, 3), (3, 1, 2), (4, 2, 2), (3, 2, 3)][seed % 4]
    if kind == "network":
        return network(seed, shape, direction, capacity=[1, 2, 3][seed % 3], energy_share=[0.05, 0.5][seed % 2])
    return random_radio(seed, direction, shape)


class TestAssign:
    @in_directions
    def test_sound(self, direction):
        for seed in range(60):
            radio = random_radio(seed, direction)
            found = api.assign(problem(radio))
            assert_sound(radio, found, seed)
            assert crowds(radio, found.subchannel).max() <= radio.capacity
            assert found.overflow == 0
            assert found.cost <= found.start_cost * (1.0 + EXACT)
            assert 0.0 <= found.bound <= found.cost * (1.0 + EXACT)
            assert [api.assign(problem(radio), sweeps=most).sweeps <= most for most in (0, 1, 2)] == [True] * 3

    @in_directions
    def test_residual(self, direction):
        """What automatic derivatives say, and small: some descents end at their last step before they are through."""
        pytest.importorskip("torch")
        residuals = []
        for seed in range(60):
            radio = random_radio(seed, direction)
            found = api.assign(problem(radio))
            own = oracle.assigned_residual(radio, found.subchannel, found.power_w)
            assert found.residual == pytest.approx(own, rel=1e-3, abs=1e-10), seed
            residuals.append(found.residual)
        assert np.max(residuals) <= 5e-4
        assert np.mean(np.array(residuals) <= RESIDUAL) >= 0.95

    @pytest.mark.parametrize(
        ("kind", "direction", "mean", "largest"),
        [
            ("network", "uplink", 0.06, 0.45),
            ("network", "downlink", 0.12, 0.65),
            ("random", "uplink", 0.03, 0.25),
            ("random", "downlink", 0.04, 0.50),
        ],
    )
    def test_gap_to_brute_force(self, kind, direction, mean, largest):
        """Never below the optimum; above it by what was measured and some more, all of it the assignment's."""
        gaps = []
        for seed in range(TINY):
            radio = tiny(kind, seed, direction)
            found = api.assign(problem(radio))
            best, subchannel, power_w = brute_force(radio)
            assert best == pytest.approx(oracle.cost(radio, one_hot(radio, subchannel), power_w), rel=EXACT)
            assert found.bound == pytest.approx(oracle.bound(radio), rel=1e-9), seed
            assert found.bound <= best * (1.0 + EXACT), seed
            if best > 0.0:
                assert found.assignment_gap == pytest.approx(found.cost / found.bound - 1.0, abs=1e-12), seed
            assert found.cost >= best * (1.0 - 1e-7), seed
            gaps.append(found.cost / best - 1.0 if best > 0.0 else 0.0)
        assert np.mean(gaps) <= mean
        assert np.max(gaps) <= largest

    @in_directions
    @pytest.mark.parametrize("kind", ["network", "random"])
    def test_local_optimum(self, direction, kind):
        """After many sweeps no user alone and no two users together gain by moving.

        The last, tight descent may change the powers so much that a little can be gained again: 2 % at most of 144.
        """
        left = 1e-9 if (kind, direction) == ("network", "uplink") else 0.03
        for seed in range(8):
            shape = (14, 3, 5) if seed % 2 else (12, 2, 4)
            radio = (network if kind == "network" else random_radio)(seed, shape=shape, direction=direction)
            found = api.assign(problem(radio), sweeps=60)
            assert found.sweeps < 60
            assert best_change(radio, found.subchannel, found.power_w) <= left, seed
            assert best_change(radio, found.subchannel, found.power_w, swap=True) <= left, seed

    @in_directions
    def test_many_users(self, direction):
        """With too many users for swaps none gains by moving alone, whoever came to its subchannel after it looked."""
        for seed in range(3):
            radio = network(seed, (70, 2, 12), direction)
            found = api.assign(problem(radio), sweeps=100)
            assert crowds(radio, found.subchannel).max() <= radio.capacity
            assert found.sweeps < 100
            assert best_change(radio, found.subchannel, found.power_w) <= 0.003, seed

    def test_sweeps_help(self):
        """More sweeps never cost more on these instances, and three are clearly better than none."""
        few, many, none = [], [], []
        for seed in range(10):
            radio = network(seed, (20, 2, 6))
            none.append(api.assign(problem(radio), sweeps=0).cost)
            few.append(api.assign(problem(radio), sweeps=1).cost)
            many.append(api.assign(problem(radio), sweeps=3).cost)
        assert (np.array(few) <= np.array(none) * (1.0 + 1e-9)).all()
        assert np.mean(np.array(many) / np.array(none)) < 0.99

    @pytest.mark.parametrize(("users", "sweeps"), [(15, 0), (70, 3)])
    def test_candidates(self, users, sweeps):
        """A user ends on one of its best-gain subchannels if there is room, unless two of few users change places."""
        for seed in range(3):
            radio = network(seed, (users, 2, 12), capacity=users)
            found = api.assign(problem(radio), candidates=4, sweeps=sweeps)
            assert_sound(radio, found, seed)
            own = radio.gain[:, np.arange(users), radio.ap]
            rank = (own > own[found.subchannel, np.arange(users)]).sum(axis=0)
            assert rank.max() == 3, seed

    def test_candidates_cost_little(self):
        ratios = []
        for seed in range(10):
            radio = problem(network(seed, (15, 2, 12)))
            ratios.append(api.assign(radio, candidates=4).cost / api.assign(radio, candidates=12).cost)
        assert np.mean(ratios) < 1.1

    def test_candidates_are_full(self):
        """Users without room on their candidates go where there is some."""
        radio = network(0, (9, 1, 4), capacity=3)
        radio.gain[0] *= 1e4
        found = api.assign(problem(radio), candidates=1)
        assert_sound(radio, found, 0)
        assert crowds(radio, found.subchannel)[0, 0] == 3

    @pytest.mark.parametrize(
        ("users", "subchannels", "tried", "other"), [(70, 20, 20, 16), (100, 40, 16, 20), (190, 200, 25, 16)]
    )
    def test_candidates_default(self, users, subchannels, tried, other):
        """All up to 20 subchannels; of more an eighth, and sixteen at least. A single candidate is the best."""
        radio = network(2, (users, 1, subchannels), capacity=3)
        chosen = {c: api.assign(problem(radio), candidates=c).subchannel.tolist() for c in (None, tried, other)}
        assert chosen[None] == chosen[tried]
        assert chosen[None] != chosen[other]
        single = api.assign(problem(radio._replace(capacity=users)), candidates=1)
        assert single.subchannel.tolist() == radio.gain[:, :, 0].argmax(axis=0).tolist()


class TestCapacity:
    def test_full_bands(self):
        """Every place taken: each subchannel has just its capacity of users of the one access point."""
        for seed in range(10):
            radio = random_radio(seed, shape=(6, 1, 3), silent=False)._replace(capacity=2)
            found = api.assign(problem(radio))
            assert_sound(radio, found, seed)
            assert crowds(radio, found.subchannel).tolist() == [[2, 2, 2]]

    def test_too_many_users(self):
        radio = random_radio(1, shape=(7, 1, 3), silent=False)._replace(capacity=2)
        with pytest.raises(ValueError, match="capacity"):
            api.assign(problem(radio))
        radio.bits[3] = 0.0
        assert api.assign(problem(radio)).overflow == 0

    @pytest.mark.parametrize(("users", "least"), [(6, 0), (7, 1), (9, 3), (13, 7)])
    def test_spread(self, users, least):
        """Asked to, it raises the capacity of the full access point to what is needed, and says by how many users."""
        radio = random_radio(2, shape=(users + 1, 2, 3), silent=False)._replace(
            ap=np.array([0] * users + [1]), capacity=2
        )
        found = api.assign(problem(radio), spread=True)
        assert_sound(radio, found, users)
        count = crowds(radio, found.subchannel)
        assert count[0].max() <= max(2, -(-users // 3))
        assert found.overflow == np.maximum(count - 2, 0).sum() >= least

    def test_spread_only_where_needed(self):
        """Another access point's capacity stays."""
        radio = random_radio(3, shape=(11, 2, 2), silent=False)._replace(ap=np.array([0] * 9 + [1] * 2), capacity=1)
        found = api.assign(problem(radio), spread=True)
        count = crowds(radio, found.subchannel)
        assert found.overflow == np.maximum(count - 1, 0).sum() >= 7
        assert count[0].max() <= 5
        assert count[1].tolist() == [1, 1]


class TestTunePowers:
    @in_directions
    @pytest.mark.parametrize(("iterations", "worse", "residual"), [(200, 1e-3, 2e-2), (10_000, 1e-8, 2e-7)])
    def test_against_scipy(self, direction, iterations, worse, residual):
        """From the same start never clearly worse than L-BFGS-B; with time enough as good, and at rest."""
        pytest.importorskip("torch")
        for seed in range(30):
            radio = random_radio(seed, direction, free=False)
            rng = np.random.default_rng(seed)
            subchannel = rng.integers(0, len(radio.gain), len(radio.ap))
            power_w = random_powers(radio, rng)
            start = oracle.cost(radio, one_hot(radio, subchannel), power_w)
            crowd = radio._replace(capacity=max(radio.capacity, int(crowds(radio, subchannel).max())))
            chosen = np.where(active(radio), subchannel, -1)
            found = api.tune_powers(problem(crowd), chosen, power_w, iterations=iterations)
            assert_sound(radio, found, seed)
            assert found.subchannel.tolist() == chosen.tolist()
            assert found.start_cost == pytest.approx(start, rel=EXACT)
            assert found.cost <= start * (1.0 + EXACT)
            if start > 0.0:
                best, _ = oracle.descend(radio, subchannel, power_w)
                assert found.cost <= best * (1.0 + worse), seed
                own = oracle.assigned_residual(radio, found.subchannel, found.power_w)
                assert found.residual == pytest.approx(own, rel=1e-3, abs=1e-10), seed
                assert found.residual <= residual, seed

    @in_directions
    @pytest.mark.parametrize("iterations", [0, 1, 3, 10])
    def test_cut_short(self, direction, iterations):
        """Stopped early the residual is large, and no less true; without steps the powers stay."""
        pytest.importorskip("torch")
        for seed in range(20):
            radio = random_radio(seed, direction)
            rng = np.random.default_rng(seed)
            subchannel, power_w = rng.integers(0, len(radio.gain), len(radio.ap)), random_powers(radio, rng)
            crowd = problem(radio._replace(capacity=20))
            found = api.tune_powers(crowd, subchannel, power_w, iterations=iterations)
            assert_sound(radio, found, seed)
            own = oracle.assigned_residual(radio, found.subchannel, found.power_w)
            assert found.residual == pytest.approx(own, rel=1e-6, abs=1e-10), seed
            if iterations == 0:
                np.testing.assert_allclose(found.power_w[active(radio)], power_w[active(radio)], rtol=EXACT)

    def test_one_user_closed_form(self):
        """The optimum of (A + C p) / log2(1 + p g / noise) is where snr / ((1 + snr) ln(1 + snr)) = C p / (A + C p)."""
        for seed in range(20):
            radio = random_radio(seed, shape=(1, 1, 1), silent=False, free=False)
            found = api.tune_powers(problem(radio), np.array([0]), np.array([radio.power_max_w]))
            snr = found.power_w[0] * radio.gain[0, 0, 0] / radio.noise_w
            energy = radio.energy_weight[0] * found.power_w[0]
            slope = energy / (radio.delay_weight[0] + energy) - snr / ((1.0 + snr) * np.log1p(snr))
            if radio.power_min_w == radio.power_max_w:
                continue
            if found.power_w[0] >= radio.power_max_w * (1.0 - EXACT):
                assert slope <= 1e-7
            elif found.power_w[0] <= radio.power_min_w * (1.0 + EXACT):
                assert slope >= -1e-7
            else:
                assert abs(slope) <= 1e-7

    def test_fixed_powers(self):
        """Equal limits leave nothing to choose."""
        radio = random_radio(9, silent=False)
        assert radio.power_min_w == radio.power_max_w
        found = api.assign(problem(radio))
        assert (found.power_w == radio.power_max_w).all()
        assert found.residual == 0.0


class TestEnds:
    @in_directions
    def test_all_silent(self, direction):
        radio = random_radio(7, direction)._replace(bits=np.zeros(12))
        found = api.assign(problem(radio))
        assert (found.subchannel == -1).all()
        assert (found.rate_bit_s == 0.0).all()
        assert (found.cost, found.start_cost, found.bound, found.residual, found.overflow) == (0.0, 0.0, 0.0, 0.0, 0)

    @in_directions
    def test_one_user(self, direction):
        """Alone it takes the subchannel with the largest gain, and the lower bound is the cost."""
        for seed in range(20):
            radio = random_radio(seed, direction, shape=(1, 2, 4), silent=False)
            found = api.assign(problem(radio))
            own = radio.gain[:, 0, radio.ap[0]]
            assert own[found.subchannel[0]] == own.max()
            assert found.bound == pytest.approx(found.cost, rel=1e-6)

    def test_room_helper(self):
        """Capacities of the instances: the largest cell just fits."""
        assert room(np.array([0, 0, 0, 1]), np.ones(4), 2) == 2
        assert room(np.array([0, 0, 0, 1]), np.array([1.0, 0.0, 1.0, 1.0]), 2) == 1
        assert room(np.array([0, 1]), np.zeros(2), 2) == 1

    def test_input_is_kept(self):
        """Nothing is written into what the caller passes."""
        radio = random_radio(8)
        copies = [np.array(field) for field in radio[:5]]
        subchannel, power_w = np.where(active(radio), 0, -1), np.full(14, radio.power_max_w)
        crowd = problem(radio._replace(capacity=14))
        api.assign(problem(radio))
        api.tune_powers(crowd, subchannel, power_w)
        for before, after in zip(copies, radio[:5], strict=True):
            assert np.array_equal(before, after)
        assert (power_w == radio.power_max_w).all()
        assert np.array_equal(subchannel, np.where(active(radio), 0, -1))
