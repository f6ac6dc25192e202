"""Claims pages on synthetic outcomes: verdicts follow what was put in, and miss nothing that the figures show."""

from pathlib import Path

import numpy as np
import pytest

from experiments import eccnoma_paper, semcom_paper
from experiments.ablations.dtirs import CROWDS as DEVICES
from experiments.ablations.dtirs import Frames
from experiments.ablations.eccnoma import (
    CROWDS,
    DEVICE,
    DNN,
    LI_GD,
    NOMA,
    POLICIES,
    Outcome,
    over_tail,
    own_speed_up,
    saving,
    speed_up,
)
from experiments.ablations.semcom import SWEEPS, excess, missed
from experiments.claims import dtirs, eccnoma, semcom
from experiments.shared.common import wrapped
from experiments.shared.verdicts import RULES, Verdict, spread

RESULTS = Path(__file__).parents[2] / "docs/results"


def outcome(delay, energy=1.0, seeds=20, noise=0.01, stream=0):
    factor = 1.0 + noise * np.random.default_rng(stream).normal(size=(seeds, 2, 5))
    return Outcome(delay * factor, energy * factor)


def point(delays=None, energies=None, noise=0.01):
    """Outcomes of all policies: Device-Only at 1 s and 1 J, others at 0.5 s and 2 J unless given."""
    delays, energies = delays or {}, energies or {}
    others = {
        name: outcome(delays.get(name, 0.5), energies.get(name, 2.0), noise=noise, stream=stream)
        for stream, name in enumerate(POLICIES)
    }
    return others | {DEVICE: outcome(1.0, 1.0, noise=0.0)}


@pytest.mark.parametrize(
    ("page", "rules"),
    [
        ("semcom_paper", RULES), ("dtirs_paper", RULES),
        ("eccnoma_paper", eccnoma_paper.rules(eccnoma_paper.Arguments())),
    ],
)  # fmt: skip
def test_the_published_pages_state_the_rules_in_force(page, rules):
    assert wrapped(rules) in (RESULTS / f"{page}.md").read_text()


def test_the_rules_name_the_comparisons_that_are_not_paired():
    assert "on 7 of the 40 seeds there, so their quantities are not paired" in eccnoma_paper.rules(
        eccnoma_paper.Arguments(seeds=40, li_gd_seeds=7)
    )


def verdict(claims, begins):
    """The verdict on the only claim whose text begins so."""
    (found,) = [claim for claim in claims if claim.text.startswith(begins)]
    return found


class TestECCNOMA:
    def test_t_is_the_ratio_of_means_and_own_ratios_their_mean(self):
        delay = np.array([[[1.0, 3.0]], [[1.0, 11.0]]])
        both = {DEVICE: Outcome(np.full((2, 1, 2), 2.0), np.ones((2, 1, 2))), NOMA: Outcome(delay, 2.0 * delay)}
        assert speed_up(both, NOMA)[0] == pytest.approx(2.0 / 4.0)
        assert saving(both, NOMA)[0] == pytest.approx(1.0 / 8.0)
        assert own_speed_up(both, NOMA)[0] == pytest.approx((2.0 + 2.0 / 3.0 + 2.0 + 2.0 / 11.0) / 4.0)

    def test_a_policy_with_fewer_seeds_is_compared_on_its_own(self):
        both = {DEVICE: outcome(1.0, seeds=20), LI_GD: outcome(0.2, seeds=8, stream=1)}
        assert speed_up(both, LI_GD)[0] == pytest.approx(5.0, rel=0.02)
        assert own_speed_up(both, LI_GD)[0] == pytest.approx(5.0, rel=0.02)
        assert spread(speed_up(both, LI_GD)).half_width < 0.1

    def test_the_tail_of_the_inverse_of_an_exponential_has_no_finite_mean(self):
        gains = np.random.default_rng(0).exponential(size=2_000_000)
        # P(1 / g > t) = 1 - exp(-1 / t), which is 1 / t for large t; that of g itself falls faster.
        assert over_tail(1.0 / gains, (10.0, 100.0, 1000.0)) == pytest.approx([0.952, 0.995, 1.0], rel=0.1)
        assert over_tail(gains, (1.0, 10.0))[1] < 0.01

    def test_fig_9_names_dnn_surgeon_where_it_saves_more(self):
        crowd = [point(energies={DNN: 2.0 if users < 70 else 0.9, LI_GD: 1.2, NOMA: 1.2}) for users in CROWDS]
        for name in (LI_GD, NOMA):
            found = verdict(eccnoma.proposed_crowd_claims(crowd, name), "Fig. 9: of those that offload")
            assert found.verdict == Verdict.FAILS
            assert "does not hold: 70 users, 90 users" in found.numbers
            assert "DNN surgeon 0.50, 0.50, 0.50, 1.11, 1.11" in found.numbers

    def test_noise_alone_decides_no_trend(self):
        rng = np.random.default_rng(5)
        level = [
            {name: Outcome(rng.gamma(1.0, size=(20, 2, 5)), np.ones((20, 2, 5))) for name in POLICIES} for _ in CROWDS
        ]
        claims = eccnoma.crowd_claims(level)
        assert verdict(claims, "Fig. 6: all but Device-Only slow down with more users: T").verdict == Verdict.UNDECIDED

    def test_every_claim_about_ecc_noma_is_judged_for_both_ways_to_run_it(self):
        points = [point() for _ in range(6)]
        claims = eccnoma.all_claims({"NiN": points[0]}, points[:5], points)
        texts = [claim.text for claim in claims]
        twice = [text for text in texts if "(Algorithm 1)" in text]
        assert {text.replace("(Algorithm 1)", "(local search)") for text in twice} <= set(texts)
        assert {text.split(":")[0] for text in twice} == {f"Fig. {n}" for n in (2, 3, 4, 5, 6, 7, 9, 10)}

    def test_tables_show_the_ratios(self):
        lines = eccnoma_paper.sweep_table([point(delays={NOMA: 0.25})], "users", [10])
        assert lines[2].split(" | ")[-1].startswith("4.0")


class TestDTIRS:
    @staticmethod
    def frames(curve, final, draws=10):
        noise = 0.01 * np.random.default_rng(0).normal(size=draws)
        return Frames(
            curve=[[value + shift for value in curve] for shift in noise], delay_s=(final + noise).tolist(),
            twin_share=[0.5] * draws, mean_power_w=[0.03] * draws, rises=[0] * draws, steps=[("power", 2.0, 1.0)],
        )  # fmt: skip

    def five(self, proposed=(66.0, 17.0), ga=(24.0, 22.0, 18.0), admm=(26.0, 21.0, 19.0)):
        curves = {
            "proposed": proposed, "no-irs": (76.0, 26.0), "no-dt": (66.5, 28.0), "admm-equal": admm, "ga": ga,
            "random-phase": (66.0, 17.5), "safeguarded": (66.0, 16.0),
        }  # fmt: skip
        return {name: self.frames(curve, curve[-1]) for name, curve in curves.items()}

    def test_a_high_start_is_not_lowest_across_all_iterations(self):
        claims = dtirs.comparison_claims(self.five())
        assert verdict(claims, "Fig. 5: proposed ends below all others").verdict == Verdict.HOLDS
        found = verdict(claims, "Fig. 5: proposed is lowest across all iterations")
        assert found.verdict == Verdict.FAILS
        assert "proposed 66.0" in found.numbers
        assert "From iteration 1 on: holds" in found.numbers
        claims = dtirs.comparison_claims(self.five(proposed=(20.0, 17.0)))
        assert verdict(claims, "Fig. 5: proposed is lowest across all iterations").verdict == Verdict.HOLDS

    def test_initially_is_the_start(self):
        found = verdict(dtirs.comparison_claims(self.five()), "Fig. 5: GA is above ADMM initially")
        assert found.verdict == Verdict.FAILS
        assert "above at iterations 1" in found.numbers
        claims = dtirs.comparison_claims(self.five(ga=(28.0, 22.0, 18.0)))
        assert verdict(claims, "Fig. 5: GA is above ADMM initially").verdict == Verdict.HOLDS

    def test_one_rise_refutes_never(self):
        five, crowd = self.five(), [self.five() for _ in DEVICES]
        assert verdict(dtirs.convergence_claims(five, crowd), "(64)").verdict == Verdict.HOLDS
        five["proposed"].steps.append(("phases", 1.0, 1.1))
        assert verdict(dtirs.convergence_claims(five, crowd), "(64)").verdict == Verdict.FAILS

    def test_order_over_iterations(self):
        first, second = np.array([1, 3, 3, 1, 3]), np.array([2, 2, 2, 2, 2])
        assert dtirs.order_over_iterations(first, second) == "1 to 2, 4"
        assert dtirs.order_over_iterations(second, second) == "none"


class TestSemCom:
    @staticmethod
    def table(energy=1.0, delay=1.0, shortfall=0.0, draws=10):
        noise = 1.0 + 0.01 * np.random.default_rng(0).normal(size=draws)
        names = ("energy_device_j", "energy_server_j", "psnr_mean_db", "psnr_min_db", "certificate")
        return {
            **dict.fromkeys(names, noise), "energy_j": energy * noise, "delay_s": delay * noise,
            "objective": (energy + delay) / 2 * noise, "round_shortfall_db": np.full(draws, shortfall),
        }  # fmt: skip

    def band(self, cheap):
        policies = semcom.POLICIES
        return [
            {name: self.table(energy=e if name == "pb-only" else 1.0) for name in policies} for e in (cheap, 2, 2, 2)
        ]

    def test_fig_3b_is_refuted_by_one_bandwidth(self):
        begins = "Fig. 3b: E of Algorithm 3"
        assert verdict(semcom.bandwidth_claims(self.band(2.0)), begins).verdict == Verdict.HOLDS
        found = verdict(semcom.bandwidth_claims(self.band(0.5)), begins)
        assert found.verdict == Verdict.FAILS
        assert found.numbers.startswith("holds: 5, 10, 20; does not hold: 1.")

    def test_excess_is_of_the_means(self):
        tables = {"alg3": {"objective": np.array([1.0, 9.0])}, "joint": {"objective": np.array([1.0, 1.0])}}
        assert excess(tables)[0] == pytest.approx(4.0)
        tables = {"alg3": tables["joint"], "joint": tables["alg3"]}
        assert excess(tables)[0] == pytest.approx(-0.8)

    def test_missed_requirements_are_marked(self):
        scores = self.table(shortfall=0.5)
        assert missed(scores) == 10
        sweep = SWEEPS[5]
        points = [{"alg3": scores, "joint": self.table()} for _ in sweep.values]
        lines = [line for line in semcom_paper.sweep_table(sweep, points) if line.startswith("| 30 ")]
        assert [semcom_paper.MISSED in line for line in lines] == [True, False]
        assert "10 of 10" in lines[0]
