"""Channels against plain loops; phases against CVXPY's solvers, grids, closed forms and their own certificates."""

import math
from typing import Any

import numpy as np
import pytest

from edge_envs.dtirs.solvers import api, reference_cvxpy
from tests.dtirs.solvers import reference_phases as oracle
from tests.dtirs.solvers.problems import (
    UPLINKS,
    Complexes,
    Floats,
    Links,
    complex_normal,
    random_links,
    random_quadratic,
)

ROUNDING = 1e-12
CERTIFIED = 1e-6
SIZES = (8, 16, 32, 64, 128, 256)
SHAPES = ((1, 1, 1), (1, 3, 2), (2, 1, 4), (5, 3, 1), (4, 6, 3), (9, 2, 5))
"""Elements, users and antennas of the channels that plain loops compute."""

in_uplinks = pytest.mark.parametrize("uplink", UPLINKS)


def random_phases(rng: np.random.Generator, size: int) -> Complexes:
    """Uniformly random phases."""
    return np.asarray(np.exp(2j * np.pi * rng.random(size)))


def form_value(quadratic: Complexes, phase: Complexes) -> float:
    """v^H Q v."""
    return float((phase.conj() @ quadratic @ phase).real)


class TestLinks:
    """Effective channels and the quadratic form of their gains."""

    @staticmethod
    def quadratic(links: Links, uplink: Any, **weights: Any) -> Complexes:
        irs_ap = links.irs_ap if uplink == "independent" else None
        return api.phase_quadratic(links.ap_irs, links.irs_ud, uplink=uplink, irs_ap=irs_ap, **weights)

    @staticmethod
    def gains(links: Links, phase: Complexes, uplink: Any) -> tuple[Floats, Floats]:
        irs_ap = links.irs_ap if uplink == "independent" else None
        return api.link_gains(phase, links.ap_irs, links.irs_ud, uplink=uplink, irs_ap=irs_ap)

    @in_uplinks
    @pytest.mark.parametrize("shape", SHAPES)
    def test_gains_against_loops(self, shape, uplink):
        for seed in range(6):
            links = random_links(seed, *shape)
            phase = random_phases(np.random.default_rng(seed), shape[0])
            for ours, expected in zip(
                self.gains(links, phase, uplink), oracle.gains(links, phase, uplink), strict=True
            ):
                assert ours.shape == (shape[1],)
                np.testing.assert_allclose(ours, expected, rtol=1e-11)

    @in_uplinks
    @pytest.mark.parametrize("shape", SHAPES)
    def test_form_is_the_weighted_sum_of_gains(self, shape, uplink):
        """At random phases; for a Hermitian form this determines everything but the split of the diagonal."""
        for seed in range(6):
            links = random_links(seed, *shape)
            weighted = self.quadratic(links, uplink, weight_dl=links.weight_dl, weight_ul=links.weight_ul)
            plain = self.quadratic(links, uplink)
            assert weighted.shape == (shape[0], shape[0])
            for form in (weighted, plain):
                np.testing.assert_allclose(form, form.conj().T, rtol=0.0, atol=ROUNDING * abs(form).max())
            for trial in range(5):
                phase = random_phases(np.random.default_rng([seed, trial]), shape[0])
                down, up = oracle.gains(links, phase, uplink)
                expected = math.fsum(links.weight_dl * down) + math.fsum(links.weight_ul * up)
                # Where channels cancel, rounding is relative to the amplitudes before.
                slack = ROUNDING * float(np.trace(weighted).real)
                assert oracle.value(weighted, phase) == pytest.approx(expected, rel=1e-11, abs=slack)
                slack = ROUNDING * float(np.trace(plain).real)
                assert oracle.value(plain, phase) == pytest.approx(math.fsum((*down, *up)), rel=1e-11, abs=slack)

    @in_uplinks
    def test_one_weight_alone(self, uplink):
        """With other weights of zero one gain of one user remains; default weights are ones."""
        links = random_links(2, 5, 3, 2)
        phase = random_phases(np.random.default_rng(1), 5)
        down, up = oracle.gains(links, phase, uplink)
        one, none = np.array([0.0, 1.0, 0.0]), np.zeros(3)
        for weights, expected in (
            ({"weight_dl": one, "weight_ul": none}, down[1]),
            ({"weight_dl": none, "weight_ul": one}, up[1]),
            ({"weight_dl": one}, down[1] + math.fsum(up)),
            ({"weight_ul": one}, up[1] + math.fsum(down)),
        ):
            assert oracle.value(self.quadratic(links, uplink, **weights), phase) == pytest.approx(expected, rel=1e-10)

    def test_reciprocal_is_the_default_and_equal_both_ways(self):
        links = random_links(1, 7, 4, 3)
        phase = random_phases(np.random.default_rng(2), 7)
        down, up = api.link_gains(phase, links.ap_irs, links.irs_ud)
        np.testing.assert_allclose(down, up, rtol=1e-13)
        np.testing.assert_allclose(down, oracle.gains(links, phase, "reciprocal")[1], rtol=1e-11)
        np.testing.assert_array_equal(
            api.phase_quadratic(links.ap_irs, links.irs_ud), self.quadratic(links, "reciprocal")
        )

    def test_modes_differ(self):
        """The three uplinks differ."""
        links = random_links(5, 6, 3, 2)
        phase = random_phases(np.random.default_rng(3), 6)
        ups = [self.gains(links, phase, uplink)[1] for uplink in UPLINKS]
        for first, second in ((0, 1), (0, 2), (1, 2)):
            assert (abs(ups[first] / ups[second] - 1.0) > 1e-3).all()
        printed = self.quadratic(links, "hermitian")
        assert abs(printed.imag).max() <= 1e-12 * abs(printed).max()
        assert abs(self.quadratic(links, "reciprocal").imag).max() > 1e-3 * abs(printed).max()

    def test_common_phase_changes_nothing(self):
        links = random_links(3, 8, 4, 2)
        phase = random_phases(np.random.default_rng(4), 8)
        for uplink in UPLINKS:
            for one, turned in zip(
                self.gains(links, phase, uplink), self.gains(links, phase * np.exp(0.7j), uplink), strict=True
            ):
                np.testing.assert_allclose(one, turned, rtol=1e-12)


class TestRelaxation:
    """The semidefinite program (43): proven optimal."""

    @staticmethod
    def assert_certified(quadratic: Complexes, found: api.Phases, gap: float, label: object = "") -> None:
        """All results are recomputed; the bound is proven by an independent dual solution."""
        size = len(quadratic)
        assert found.phase.shape == (size,), label
        np.testing.assert_allclose(abs(found.phase), 1.0, rtol=1e-14)
        assert found.value == pytest.approx(form_value(quadratic, found.phase), rel=ROUNDING), label
        assert found.factor.shape[0] == size
        np.testing.assert_allclose(np.linalg.norm(found.factor, axis=1), 1.0, rtol=ROUNDING)
        attained = np.einsum("ij,jr,ir->", quadratic, found.factor, found.factor.conj()).real
        assert found.relaxed == pytest.approx(attained, rel=ROUNDING), label
        assert found.gap == pytest.approx((found.bound - found.relaxed) / abs(found.relaxed), abs=1e-14), label
        assert -ROUNDING <= found.gap <= gap, label
        proven = oracle.dual_bound(quadratic, found.factor)
        assert proven <= found.bound * (1.0 + ROUNDING), label
        assert found.relaxed <= proven * (1.0 + ROUNDING), label
        assert found.value <= found.bound * (1.0 + ROUNDING), label

    @pytest.mark.parametrize("size", SIZES)
    def test_certified(self, size):
        for seed in range({128: 5, 256: 3}.get(size, 25)):
            quadratic = random_quadratic(seed, size)
            found = api.optimise_phases(quadratic)
            self.assert_certified(quadratic, found, CERTIFIED, seed)
            assert found.gap <= 1e-7 * (1.0 + 1e-6), seed
            assert found.sweeps >= 1

    @pytest.mark.parametrize("gap", [1e-2, 1e-5, 1e-10])
    @pytest.mark.parametrize("size", [8, 32])
    def test_gap_as_asked_for(self, size, gap):
        sweeps = []
        for seed in range(8):
            quadratic = random_quadratic(seed, size)
            found = api.optimise_phases(quadratic, gap=gap)
            self.assert_certified(quadratic, found, gap * (1.0 + 1e-6), seed)
            sweeps.append(found.sweeps)
        rough = [api.optimise_phases(random_quadratic(seed, size), gap=0.5).sweeps for seed in range(8)]
        assert sum(sweeps) >= sum(rough)

    @pytest.mark.parametrize("seed", range(60))
    def test_few_elements(self, seed):
        """Up to three elements the relaxation is tight, so its bound is the optimum of the phases."""
        size = 1 + seed % 3
        quadratic = random_quadratic(seed, size)
        found = api.optimise_phases(quadratic)
        self.assert_certified(quadratic, found, CERTIFIED)
        best = oracle.best_by_grid(quadratic) if size > 1 else float(quadratic[0, 0].real)
        assert found.value == pytest.approx(best, rel=1e-9)
        assert found.relaxed == pytest.approx(best, rel=3e-7)
        if size == 2:
            closed = float(np.trace(quadratic).real) + 2.0 * abs(quadratic[0, 1])
            assert found.value == pytest.approx(closed, rel=1e-12)

    @pytest.mark.parametrize("seed", range(8))
    def test_four_elements_against_a_grid(self, seed):
        quadratic = random_quadratic(seed, 4, users=3, antennas=2)
        found = api.optimise_phases(quadratic)
        best = oracle.best_by_grid(quadratic, 16)
        assert found.value == pytest.approx(best, rel=1e-6)
        assert found.bound >= best * (1.0 - ROUNDING)

    @pytest.mark.parametrize("size", [2, 8, 64, 256])
    def test_rank_one(self, size):
        """One user and one antenna: every element in phase, |a_1| + ... + |a_N| squared."""
        rng = np.random.default_rng(size)
        vector = complex_normal(rng, size) * 10.0 ** rng.uniform(-4.0, 0.0, size)
        quadratic = np.outer(vector, vector.conj())
        found = api.optimise_phases(quadratic)
        self.assert_certified(quadratic, found, CERTIFIED)
        assert found.value == pytest.approx(abs(vector).sum() ** 2, rel=1e-12)
        # All columns of the factor are then optimal, and so is every direction drawn from it.
        drawn = api.optimise_phases(quadratic, polish=False, samples=1)
        assert drawn.value == pytest.approx(found.value, rel=1e-6)
        turned = found.phase * (oracle.aligned(vector)[0] / found.phase[0])
        np.testing.assert_allclose(turned, oracle.aligned(vector), atol=1e-5)

    @pytest.mark.parametrize(("solver", "size", "seeds"), [
        ("SCS", 8, range(12)), ("CLARABEL", 8, range(12)), ("SCS", 32, range(4)), ("CLARABEL", 32, [2]),
        ("SCS", 64, [4]),
    ])  # fmt: skip
    def test_against_cvxpy(self, solver, size, seeds):
        """SCS and Clarabel stay below the bound and do not exceed the value, to their own tolerances."""
        pytest.importorskip("cvxpy")
        for seed in seeds:
            # With weak users and few antennas SCS takes long at this size.
            shape = {"users": 100, "antennas": 32, "decades": 1.0} if size == 64 else {}
            quadratic = random_quadratic(seed, size, **shape)
            found = api.optimise_phases(quadratic)
            relaxed = reference_cvxpy.phases(quadratic, solver, "dual" if size == 64 else "primal")
            np.testing.assert_allclose(np.diag(relaxed), 1.0, atol=1e-3)
            np.testing.assert_allclose(relaxed, relaxed.conj().T, atol=1e-9)
            attained = oracle.feasible_value(quadratic, relaxed)
            assert attained <= found.bound * (1.0 + ROUNDING), seed
            assert attained == pytest.approx(found.relaxed, rel=2e-6), seed

    @pytest.mark.parametrize("solver", ["SCS", "CLARABEL"])
    def test_by_cvxpy_on_request(self, solver):
        pytest.importorskip("cvxpy")
        for seed in range(3):
            quadratic = random_quadratic(seed, 8)
            ours, found = api.optimise_phases(quadratic), api.optimise_phases(quadratic, reference=solver)
            self.assert_certified(quadratic, found, 1e-4, seed)
            assert found.relaxed == pytest.approx(ours.relaxed, rel=2e-6)
            assert found.relaxed != ours.relaxed
            assert found.value == pytest.approx(ours.value, rel=1e-2)


class TestPhases:
    """Phases from the relaxation, by ascent, and random ones."""

    @pytest.mark.parametrize("size", SIZES)
    def test_polish_never_lowers_and_ends_where_no_element_can_gain(self, size):
        gains = []
        for seed in range({128: 3, 256: 1}.get(size, 15)):
            quadratic = random_quadratic(seed, size)
            rough = api.optimise_phases(quadratic, polish=False, seed=seed)
            found = api.optimise_phases(quadratic, seed=seed)
            assert found.value >= rough.value * (1.0 - ROUNDING), seed
            assert oracle.misaligned(quadratic, found.phase) <= 1e-9, seed
            assert rough.bound == found.bound, seed
            gains.append(found.value / rough.value - 1.0)
        assert size < 64 or max(gains) > 1e-4

    @pytest.mark.parametrize("size", SIZES)
    def test_randomisation_keeps_its_promise(self, size):
        """Samples reach pi/4 of the relaxation on average, as Q is positive semidefinite, and beat random phases."""
        for seed in range({128: 3, 256: 1}.get(size, 15)):
            quadratic = random_quadratic(seed, size)
            found = api.optimise_phases(quadratic, polish=False, seed=seed)
            assert math.pi / 4.0 * found.relaxed <= found.value <= found.bound, seed
            chance = np.mean([form_value(quadratic, random_phases(np.random.default_rng(t), size)) for t in range(50)])
            for ours in (found, api.optimise_phases(quadratic), api.optimise_phases(quadratic, method="ca")):
                assert ours.value >= chance, seed

    def test_near_the_bound_as_measured(self):
        """At the paper's 32 elements and 100 users: 0.99 of the bound with polish, random phases 0.79 of it."""
        ratios, chance = [], []
        for seed in range(12):
            quadratic = random_quadratic(seed, 32, users=100, antennas=32, decades=1.0)
            found = api.optimise_phases(quadratic, seed=seed)
            ratios.append(found.value / found.bound)
            chance.append(api.optimise_phases(quadratic, method="random", seed=seed).value / found.bound)
        assert min(ratios) >= 0.985
        assert 0.6 <= np.mean(chance) <= 0.95

    def test_more_samples_help(self):
        few, many = (
            [
                api.optimise_phases(random_quadratic(seed, 64), samples=samples, polish=False, seed=seed).value
                for seed in range(12)
            ]
            for samples in (1, 300)
        )
        ratio = np.array(many) / np.array(few)
        assert np.median(ratio) > 1.003
        assert ratio.min() > 0.99

    @pytest.mark.parametrize("method", ["ca", "random"])
    def test_without_relaxation(self, method):
        """Without a relaxation: NaN and an empty factor."""
        for seed in range(10):
            quadratic = random_quadratic(seed, 16)
            found = api.optimise_phases(quadratic, method=method, seed=seed)
            np.testing.assert_allclose(abs(found.phase), 1.0, rtol=1e-14)
            assert found.value == pytest.approx(form_value(quadratic, found.phase), rel=ROUNDING)
            assert math.isnan(found.relaxed)
            assert math.isnan(found.bound)
            assert math.isnan(found.gap)
            assert found.factor.shape == (16, 0)

    @pytest.mark.parametrize("size", [8, 32, 128])
    def test_coordinate_ascent(self, size):
        """At the end no single element can gain; the value is near the bound and above that of the start."""
        for seed in range(8):
            quadratic = random_quadratic(seed, size)
            found = api.optimise_phases(quadratic, method="ca", seed=seed)
            assert oracle.misaligned(quadratic, found.phase) <= 1e-9, seed
            best = api.optimise_phases(quadratic)
            assert 0.85 * best.bound <= found.value <= best.bound * (1.0 + ROUNDING), seed

    def test_random_phases_are_even_and_not_chosen(self):
        """The mean value of a draw is the trace; its phases cover the circle."""
        quadratic = random_quadratic(7, 6, users=5, antennas=3, decades=1.0)
        draws = [api.optimise_phases(quadratic, method="random", seed=seed) for seed in range(600)]
        values = np.array([found.value for found in draws])
        error = values.std() / math.sqrt(len(values))
        assert abs(values.mean() - np.trace(quadratic).real) <= 4.0 * error
        phases = np.array([found.phase for found in draws])
        for moment in (1, 2, 3):
            assert (abs((phases**moment).mean(axis=0)) <= 4.0 / math.sqrt(len(values))).all()
        assert abs((phases[:, 0] * phases[:, 1].conj()).mean()) <= 4.0 / math.sqrt(len(values))

    @pytest.mark.parametrize("method", ["sdr", "ca", "random"])
    def test_seed_decides(self, method):
        quadratic = random_quadratic(3, 24, users=10, antennas=8, decades=1.0)
        first, again, other = (
            api.optimise_phases(quadratic, method=method, seed=seed, polish=False) for seed in (5, 5, 6)
        )
        np.testing.assert_array_equal(first.phase, again.phase)
        assert abs(first.phase - other.phase).max() > 1e-3
