"""The radio within a frame: its certificates, slices, turns and random bands."""

from typing import Any

import numpy as np
import pytest

from edge_envs.eccnoma.config import ECCNOMAConfig
from tests.eccnoma.model import reference_step as slow
from tests.eccnoma.model.problems import CONFIGS, FDMA, TDMA, make, play, random_action
from tests.eccnoma.model.reference_step import Result, World
from tests.eccnoma.solvers import reference_radio
from tests.eccnoma.solvers.problems import Radio

# Certificates


def radio_of(c: ECCNOMAConfig, w: World, r: Result, action: Any, uplink: bool) -> Radio:
    """One direction as a problem of the solvers' tests: what is sent as often as it is paid for, by band."""
    bands = slow.bands_of(c, r.ap)
    fading = w.fading_up if uplink else w.fading_down
    gain = (fading * slow.path_gain(c, w.place_m))[[slow.subchannel_at(c, s, bands) for s in range(bands)]]
    tables = slow.tables_of(c)
    bits = np.array([tables[k].bits[a] for k, a in zip(w.network, action, strict=True)]) if uplink else c.result_bits
    side = "up" if uplink else "down"
    band_hz = getattr(c, f"bandwidth_{side}_hz") / bands
    return Radio(
        gain, r.ap, np.where(r.sends, bits, 0.0), c.weight_delay * w.queue * (w.queue + 1.0) / 2.0,
        c.weight_energy * w.queue, band_hz, slow.watt(c.noise_dbm_per_hz) * band_hz,
        slow.watt(getattr(c, f"power_{side}_min_dbm")), slow.watt(getattr(c, f"power_{side}_max_dbm")), c.capacity,
        "uplink" if uplink else "downlink" if c.downlink == "physical" else "downlink-printed",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["default", "paper", "fdma", "printed", "li-gd", "dear-energy", "random-tuned"])
def test_certificates_of_a_frame(name):
    """What the powers may save, by automatic differentiation, and the cost over its bound; of all that waits."""
    pytest.importorskip("torch")
    env = make(name)
    c = env.system.config
    env.reset(seed=5)
    rng = np.random.default_rng(0)
    for _ in range(4):
        w, action = slow.world_of(env), random_action(env, rng)
        info = env.step(action)[4]
        d = slow.decisions_of(env)
        r = slow.simulate(c, w, action, d)
        gaps = []
        for side, band, power_w in (("uplink", d.band_up, d.power_up_w), ("downlink", d.band_down, d.power_down_w)):
            radio = radio_of(c, w, r, action, side == "uplink")
            used = np.maximum(power_w, 1e-300)
            gaps.append(reference_radio.assigned_gap(radio, band, used))
            if name == "random-tuned":
                assert np.isnan(info[f"assignment_gap_{side}"])
            elif r.sends.any():
                cost = reference_radio.cost(radio, reference_radio.one_hot(radio, band), used)
                above = cost / reference_radio.bound(radio) - 1.0
                assert info[f"assignment_gap_{side}"] == pytest.approx(above, rel=1e-7, abs=1e-9)
            else:
                assert info[f"assignment_gap_{side}"] == 0.0
        # Random bands can hold users of very different gains, whose powers converge slowly.
        assert info["certificate"] <= (1e-4 if name == "random-tuned" else 1e-6)
        assert info["certificate"] == pytest.approx(max(gaps), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_not_optimised_has_no_certificate(name):
    """NaN for powers at their most, bands by a rule or at random, and units by other rules; numbers elsewhere."""
    for env, *_, info in play(name, 2):
        c = env.system.config
        gaps = [info[key] for key in ("certificate", "server_gap", "assignment_gap_uplink", "assignment_gap_downlink")]
        assigned = c.access != "tdma" and c.assignment != "random"
        optimised = [c.access != "tdma" and c.power == "optimal", c.units == "optimal", assigned, assigned]
        assert np.isnan(gaps).tolist() == [not each for each in optimised]
        assert all(gap >= 0.0 for gap, each in zip(gaps, optimised, strict=True) if each)


# Other uses of the spectrum


@pytest.mark.parametrize("power", ["optimal", "full"])
def test_a_slice_has_one_user_of_an_access_point(power):
    """Even where all but one of the subchannels are so bad that any number of users would rather share it."""
    alone, shared = make("fdma", power=power), make("default", power=power, num_users=8, num_subchannels=5, capacity=8)
    for env, most in ((alone, 1), (shared, 8)):
        env.reset(seed=0)
        env.state.queue[0] = 1.0
        env.state.gain_up[0, 1:] *= 1e-9
        env.state.gain_down[0, 1:] *= 1e-9
        env.step(np.zeros(8, dtype=int))
        d, ap = slow.decisions_of(env), env.state.ap[0]
        loads = [np.bincount(band[ap == n]).max() for band in (d.band_up, d.band_down) for n in set(ap.tolist())]
        assert max(loads) == 1 if most == 1 else max(loads) > 1


@pytest.mark.parametrize("options", [TDMA, {**TDMA, "num_subchannels": 5}, {**TDMA, "num_aps": 1}])
def test_turns_go_to_the_best_subchannel_with_room(options):
    """Users by falling best gain, each AP's as evenly over its subchannels as can be."""
    for env, w, d, r, *_ in play("tdma", 4, **options):
        c = env.system.config
        for fading, band in ((w.fading_up, d.band_up), (w.fading_down, d.band_down)):
            gain = fading * slow.path_gain(c, w.place_m)
            for n in range(c.num_aps):
                here = np.flatnonzero(r.sends & (r.ap == n))
                room = np.full(c.num_subchannels, -(-len(here) // c.num_subchannels))
                for u in here[np.argsort(-gain[:, here, n].max(axis=0))]:
                    best = int(np.argmax(np.where(room > 0, gain[:, u, n], -1.0)))
                    assert band[u] == best
                    room[best] -= 1


@pytest.mark.parametrize("options", [{}, {**FDMA, "power": "full"}, {"num_subchannels": 1}])
def test_random_bands_are_evenly_random_and_apart(options):
    """Over many frames every user is on every band equally often; an AP's users take neighbouring bands."""
    env = make("random", **{**options, "num_users": 4})
    env.reset(seed=0)
    bands = slow.bands_of(env.system.config, env.state.ap[0])
    env.state.queue[0] = 1.0
    counts, frames = np.zeros((4, bands)), 600
    for _ in range(frames):
        env.state.queue[0] = 1.0
        env.step(np.zeros(4, dtype=int))
        d, ap = slow.decisions_of(env), env.state.ap[0]
        np.testing.assert_array_equal(d.band_up, d.band_down)
        for n in set(ap.tolist()):
            mine = np.sort(d.band_up[ap == n])
            assert len(set(mine.tolist())) == min(len(mine), bands)
            steps = np.diff(np.concatenate([mine, mine[:1] + bands]))
            assert (steps > 1).sum() <= 1, "one gap at most in the circle of bands"
        counts[np.arange(4), d.band_up] += 1
    spread = np.sqrt(frames / bands * (1.0 - 1.0 / bands))
    assert (np.abs(counts - frames / bands) <= 4.5 * spread + 1e-9).all()
