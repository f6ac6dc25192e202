"""Configuration of `LyaPPO-v0`: parameters with units and sources, and presets."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from edge_envs.core.config import (
    Bandwidth,
    EnergyCoefficient,
    Exponent,
    Length,
    NonNegative,
    Positive,
    Probability,
    SystemConfig,
)
from edge_envs.core.kernels.randomness import BLOCK_STEPS
from edge_envs.core.physics.networks import Cuts, parse_network

TASKS_PER_SLOT_MAX = 50.0
"""Largest arrival rate: above it the Poisson draw by inversion loses accuracy [tasks per slot and service]."""

_DYNAMIC: Mapping[str, Any] = {
    "bandwidth_hz": 4e6,
    "placement": "mobile",
    "distance_min_m": 50.0,
    "distance_max_m": 250.0,
    "blockage_loss_db": 30.0,
}


class CutSet(StrEnum):
    """Cut points of a network that an action can choose."""

    USEFUL = "useful"
    ALL = "all"


class RateUnit(StrEnum):
    """Time unit of arrival rates."""

    SLOT = "slot"
    SECOND = "second"


class Placement(StrEnum):
    """Positions of the devices: at even distances, drawn in each episode, or moving radially."""

    SPREAD = "spread"
    UNIFORM = "uniform"
    MOBILE = "mobile"


class Decision(StrEnum):
    """Variables that the agent controls: only the cuts, or also frequencies, rates and power."""

    PARTITION = "partition"
    JOINT = "joint"


class Solver(StrEnum):
    """Solver of Problems 3, 4 and 5."""

    EXACT = "exact"
    CVXPY = "cvxpy"


class Observation(StrEnum):
    """Content of the observation."""

    EXTENDED = "extended"
    PAPER = "paper"


class LyaPPOConfig(SystemConfig):
    """Configuration of `LyaPPO-v0`; defaults follow Table II of the paper where it gives a value."""

    num_devices: Annotated[int, Field(ge=1, le=1024)] = 4
    """Number of XR devices M [devices]; paper, Table II."""
    num_services: Annotated[int, Field(ge=1, le=16)] = 2
    """Services per device N_m: the first ones of `networks` [services]; paper, Table II."""
    networks: tuple[str, ...] = ("resnet18@96", "tiny-yolov2@64", "mobilenetv2@64", "alexnet@64")
    """Network of each service as name@input_size [pixels]; chosen: the paper names none, and with these networks 20
    tasks per second are feasible on the device and on the link."""
    cuts: CutSet = CutSet.USEFUL
    """Cut points: "all", or "useful" ones, with fewer bits to send than all earlier cuts; chosen: useful."""
    word_bits: Annotated[int, Field(ge=1, le=64)] = 8
    """Word length of inputs and features [bit]; chosen."""
    k_min: Annotated[int, Field(ge=0)] = 0
    """Smallest cut in the action space [index]; 0 allows sending the raw input; paper, C.11: 1; chosen: 0."""
    slot_s: Positive = 0.01
    """Duration of a slot tau [s]; paper, Table II."""
    slots_per_period: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Slots between two decisions, G [slots]; paper, Table II."""
    arrival_rate: NonNegative = 0.2
    """Mean number of Poisson arrivals of one service, lambda [tasks per `arrival_rate_per`]; paper, Table II."""
    arrival_rate_per: RateUnit = RateUnit.SLOT
    """Time unit of `arrival_rate`; chosen: slot. Table II gives tasks per second, the text tasks per slot. Only the
    latter, 20 tasks per second, are a relevant load."""
    device_frequency_max_hz: Positive = 1.5e9
    """Processor speed of a device F_m^l [cycles/s]; paper, Table II."""
    server_frequency_max_hz: Positive = 20e9
    """Processor speed of the server F^e [cycles/s]; paper, Table II."""
    power_max_w: Positive = 0.3
    """Largest transmit power of a device [W]; paper, Table II."""
    bandwidth_hz: Bandwidth = 1e6
    """Uplink bandwidth B_w, shared equally by the devices [Hz]; paper, Sec. V."""
    noise_dbm_per_hz: Annotated[float, Field(ge=-300, le=0)] = -174.0
    """Noise power spectral density N_0 [dBm/Hz]; paper, Sec. V."""
    antenna_gain: Annotated[float, Field(ge=1e-6, le=1e6)] = 3.0
    """Antenna gain A_d [-]; paper, Sec. V."""
    carrier_hz: Annotated[float, Field(ge=1e3, le=1e15)] = 915e6
    """Carrier frequency f_c [Hz]; paper, Sec. V."""
    path_loss_exponent: Exponent = 3.0
    """Path loss exponent d_e [-]; paper, Sec. V."""
    placement: Placement = Placement.SPREAD
    """Distances of the devices: evenly spaced, drawn in each episode, or changing as devices move; chosen: spread."""
    distance_min_m: Length = 150.0
    """Smallest distance to the server [m]; paper, Sec. V."""
    distance_max_m: Length = 250.0
    """Largest distance to the server [m]; paper, Sec. V."""
    speed_m_per_s: NonNegative = 15.0
    """Radial speed with placement="mobile" [m/s]; chosen."""
    reversal_probability: Probability = 0.02
    """Probability per period that a moving device reverses its direction [-]; chosen."""
    blockage_loss_db: NonNegative = 0.0
    """Additional loss of a blocked link, 0 for no blockage [dB]; chosen."""
    blockage_clear_periods: Annotated[float, Field(ge=1, le=1e30)] = 40.0
    """Mean time until a clear link is blocked [periods]; chosen."""
    blockage_blocked_periods: Annotated[float, Field(ge=1, le=1e30)] = 20.0
    """Mean time until a blocked link is clear [periods]; chosen."""
    fading_correlation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Correlation of the complex fading between adjacent slots [-]; paper: 0, independent slots."""
    arrival_levels: tuple[NonNegative, ...] = ()
    """Arrival rates between which a device switches; empty: constant `arrival_rate` [as `arrival_rate`]; chosen."""
    arrival_switch_probability: Probability = 0.025
    """Probability per period that a device switches to another level [-]; chosen."""
    cycles_per_mac: Positive = 0.12
    """Processor cycles per multiply-accumulate rho [cycles/MAC]; paper, Table II."""
    device_energy_coefficient: EnergyCoefficient = 1e-28
    """Energy coefficient delta of eq. (5) [W s^3]; paper, Table II."""
    weight_local: Positive = 3e17
    """Drift-plus-penalty weight U^l [cycles^2/J]; chosen: 0.3 times Table II, with which PPO learns."""
    weight_transmit: Positive = 3e11
    """Drift-plus-penalty weight U^t [bit^2/J]; chosen: 0.3 times Table II, with which PPO learns."""
    reward_energy_per_j: NonNegative = 1e3
    """Reward weight omega_1 of the mean energy of a slot [1/J]; chosen: not in the paper."""
    reward_backlog: NonNegative = 1.0
    """Reward weight omega_2 of the scaled backlog [-]; chosen: not in the paper."""
    backlog_weights: tuple[NonNegative, NonNegative, NonNegative] = (0.6, 0.2, 0.2)
    """Weights beta of the local, transmit and edge backlog in the reward [-]; paper, Table II."""
    backlog_scales: tuple[Positive, Positive, Positive] = (1e9, 1e6, 1e9)
    """Scales of the local, transmit and edge backlog in the reward [cycles, bit, cycles]; chosen."""
    queue_capacity: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    """Capacity of a queue; further tasks are dropped and counted [tasks]; chosen: large enough for 200 periods."""
    decision: Decision = Decision.PARTITION
    """Variables that the agent controls: the cuts, or also frequencies, rates and power (the paper's PPO baseline)."""
    solver: Solver = Solver.EXACT
    """Solver of Problems 3-5: closed forms, or CVXPY (a slow reference; needs the extra `reference`)."""
    observation: Observation = Observation.EXTENDED
    """The paper's state (25)-(33); with "extended" also arrivals and final backlogs of the period; chosen: extended."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "paper": {"weight_local": 1e18, "weight_transmit": 1e12, "k_min": 1, "observation": "paper"},
        "hard": {"networks": ("mobilenetv2@224", "squeezenet1.1@224")},
        "dynamic": _DYNAMIC,
        "dynamic-full": {**_DYNAMIC, "arrival_levels": (0.1, 0.2, 0.3), "fading_correlation": 0.9},
    }

    renamed: ClassVar[Mapping[str, str]] = {
        "frequency_local_max_hz": "device_frequency_max_hz",
        "frequency_edge_max_hz": "server_frequency_max_hz",
        "energy_coefficient": "device_energy_coefficient",
    }

    @field_validator("networks")
    @classmethod
    def _known(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for spec in networks:
            parse_network(spec)
        return networks

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.num_services > len(self.networks):
            raise ValueError(
                f"num_services={self.num_services} is more than the {len(self.networks)} entries of networks; "
                "lower it or name more networks"
            )
        self.check_order(("distance_min_m", "distance_max_m", "m"))
        if len(self.arrival_levels) == 1:
            raise ValueError("arrival_levels has one entry; give at least two, or none and set arrival_rate")
        if self.arrival_rates_per_slot.max() > TASKS_PER_SLOT_MAX:
            raise ValueError(
                f"arrivals of {self.arrival_rates_per_slot.max():g} tasks per slot and service are above "
                f"{TASKS_PER_SLOT_MAX:g}; lower arrival_rate, arrival_levels or slot_s"
            )
        if self.decision == Decision.JOINT and self.solver == Solver.CVXPY:
            raise ValueError("solver='cvxpy' has no effect with decision='joint'; use solver='exact'")
        services = self.num_devices * self.num_services
        self.limit_array(3 * services * self.queue_capacity, 1, "num_devices", "num_services", "queue_capacity")
        draws = BLOCK_STEPS * self.slots_per_period * (services + 2 * self.num_devices)
        self.limit_array(draws, 8, "num_devices", "num_services", "slots_per_period")
        for spec, cuts in zip(self.networks, self.service_cuts, strict=False):
            last = len(cuts.names) - 1
            if self.k_min > last:
                raise ValueError(f"k_min={self.k_min} is above the last cut {last} of {spec}; lower it")
            if last > 255:
                raise ValueError(f"{spec} has {last} cuts, but a queue stores at most 255; use cuts='useful'")
        return self

    @cached_property
    def service_cuts(self) -> tuple[Cuts, ...]:
        """Cut tables of the services in use."""
        useful = self.cuts == CutSet.USEFUL
        return tuple(
            parse_network(spec).cuts(word_bits=self.word_bits, useful=useful)
            for spec in self.networks[: self.num_services]
        )

    @cached_property
    def last_cut(self) -> NDArray[np.int64]:
        """Largest cut K of each service, with everything on the device, shape (N,)."""
        return np.array([len(cuts.names) - 1 for cuts in self.service_cuts], dtype=np.int64)

    @cached_property
    def stage_work(self) -> NDArray[np.float64]:
        """Work of one task by stage, service and cut, shape (3, N, K+1) [cycles, bit, cycles]; Sec. III-A."""
        work = np.zeros((3, self.num_services, int(self.last_cut.max()) + 1))
        for n, cuts in enumerate(self.service_cuts):
            work[0, n, : len(cuts.names)] = cuts.device_macs * self.cycles_per_mac
            work[1, n, : len(cuts.names)] = cuts.bits
            work[2, n, : len(cuts.names)] = cuts.server_macs * self.cycles_per_mac
        return work

    @cached_property
    def arrival_rates_per_slot(self) -> NDArray[np.float64]:
        """Arrival rate of each level [tasks per slot and service]."""
        rates = np.array(self.arrival_levels or (self.arrival_rate,), dtype=np.float64)
        return rates if self.arrival_rate_per == RateUnit.SLOT else rates * self.slot_s

    @property
    def device_bandwidth_hz(self) -> float:
        """Bandwidth of one device b_w = B_w / M [Hz]."""
        return self.bandwidth_hz / self.num_devices

    @property
    def varies(self) -> bool:
        """True if mean gains or arrival rates change within an episode."""
        return self.placement == Placement.MOBILE or self.blockage_loss_db > 0 or bool(self.arrival_levels)

    @property
    def choices(self) -> NDArray[np.int64]:
        """Number of cuts that can be chosen for each service, shape (N,)."""
        choices: NDArray[np.int64] = self.last_cut - self.k_min + 1
        return choices

    @property
    def initial_cut(self) -> NDArray[np.int64]:
        """Cuts before the first decision, shape (J,): the larger of the middle cut ceil(K/2) and `k_min`."""
        return np.tile(np.maximum(self.k_min, (self.last_cut + 1) // 2), self.num_devices)
