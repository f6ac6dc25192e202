"""Parameters of split inference over multi-cell NOMA, with units, sources and presets."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from edge_envs.core.config import Bandwidth, Exponent, Length, NonNegative, Positive, Probability, SystemConfig
from edge_envs.core.physics.networks import parse_network

Speed = Annotated[float, Field(ge=1.0, le=1e18)]
Count = Annotated[int, Field(ge=1, le=4096)]
Part = Annotated[float, Field(ge=0, lt=1)]
Decibel = Annotated[float, Field(ge=-300, le=300)]

MEAN_ARRIVALS_MAX = 50.0
"""Largest mean of a step's arrivals [tasks]; above it, draws of the Poisson distribution lose precision."""


PLANNING: Mapping[str, Any] = {
    "networks": ("resnet18@96", "tiny-yolov2@96", "mobilenetv2@96"), "word_bits": 8, "placement": "balanced",
    "bandwidth_up_hz": 0.2e6, "bandwidth_down_hz": 0.2e6, "speed_min_flop_s": 0.25e9, "speed_max_flop_s": 0.8e9,
    "units_max": 3.0, "pool_units": 6.0, "server_energy_coefficient": 2.5e-30, "quiet_rate": 0.3, "burst_rate": 3.0,
    "slices": 2,
}  # fmt: skip
"""Preset `planning`; docs/ECCNOMA-v0-planning.md gives the reasons."""


class CutSet(StrEnum):
    """Cuts that an action can choose."""

    PARETO = "pareto"
    ALL = "all"


class Placement(StrEnum):
    """Distribution of the users' positions."""

    UNIFORM = "uniform"
    BALANCED = "balanced"


class Access(StrEnum):
    """Multiple access: sharing of the spectrum by the users of an AP."""

    NOMA = "noma"
    FDMA = "fdma"
    TDMA = "tdma"


class Downlink(StrEnum):
    """Channel of the downlink interference within a cell: the receiver's or the interferer's."""

    PHYSICAL = "physical"
    PRINTED = "printed"


class Assignment(StrEnum):
    """Method that assigns users to subchannels."""

    SEARCH = "search"
    LI_GD = "li-gd"
    RANDOM = "random"


class Power(StrEnum):
    """Method that sets the transmit powers."""

    OPTIMAL = "optimal"
    FULL = "full"


class Units(StrEnum):
    """Rule for the number of server units of a user."""

    OPTIMAL = "optimal"
    MOST = "most"
    EQUAL = "equal"


class Arrivals(StrEnum):
    """Arrival process of the tasks."""

    BURSTY = "bursty"
    ONE = "one"


class ECCNOMAConfig(SystemConfig):
    """Configuration of `ECCNOMA-v0`; the defaults are a sequential extension, presets `paper*` follow Sec. VI."""

    num_users: Count = 12
    """Number of users U [users]; chosen: small enough to train on; the paper has 1250."""
    num_aps: Annotated[int, Field(ge=1, le=64)] = 2
    """Number of APs N [APs]; chosen; paper, Sec. VI: 5."""
    num_subchannels: Annotated[int, Field(ge=1, le=1024)] = 6
    """Number of subchannels M in each direction [subchannels]; chosen; paper, Sec. VI: 250."""
    networks: Annotated[tuple[str, ...], Field(min_length=1, max_length=16)] = (
        "nin@32", "tiny-yolov2-cifar@32", "vgg16-cifar@32",
    )  # fmt: skip
    """Networks as name@input_size [pixels]; in each episode, one of them is drawn for each user; paper, Sec. VI: NiN,
    YOLOv2 and VGG16 on CIFAR-10, here as chains of 9, 17 and 24 layers."""
    cuts: CutSet = CutSet.PARETO
    """Cuts that an action can choose. `pareto`: those not dominated in (device work, bits to send), in the order edge,
    device, others. `all`: every layer in order; chosen: pareto."""
    word_bits: Annotated[int, Field(ge=1, le=64)] = 32
    """Bits of a feature value [bit]; chosen: float32."""
    input_bits: Annotated[int, Field(ge=1, le=64)] = 8
    """Bits of a value of the raw image [bit]; chosen: as in CIFAR-10."""
    result_bits: Positive = 320.0
    """Size of the result m_i [bit]; chosen: ten float32."""
    side_m: Positive = 400.0
    """Side of the square that contains all users and APs [m]; chosen."""
    distance_min_m: Length = 10.0
    """Smallest distance between a user and an AP [m]; chosen."""
    placement: Placement = Placement.UNIFORM
    """Distribution of the users' positions, which are drawn in each episode. `uniform`: uniform over the square.
    `balanced`: each AP has the same number of users; chosen: uniform."""
    path_loss_exponent: Exponent = 5.0
    """Path loss exponent [-]; paper, Sec. VI."""
    reference_gain_db: Decibel = 0.0
    """Gain at 1 m [dB]; paper: distance to the power of -5."""
    fading_correlation: Probability = 0.9
    """Correlation of the complex Rayleigh fading between steps; 0: independent fading [-]; chosen; paper: 0."""
    csi_delay: Annotated[int, Field(ge=0, le=1)] = 1
    """Age of the observed channels and background loads [steps]; chosen; paper: 0."""
    bandwidth_up_hz: Bandwidth = 0.5e6
    """Uplink bandwidth B_up of all subchannels together [Hz]; chosen; paper, Sec. VI: 10 MHz."""
    bandwidth_down_hz: Bandwidth = 0.5e6
    """Downlink bandwidth B_down of all subchannels together [Hz]; chosen."""
    noise_dbm_per_hz: Decibel = -174.0
    """Noise power spectral density [dBm/Hz]; paper, Sec. VI."""
    power_up_max_dbm: Decibel = 25.0
    """Largest uplink power p_max [dBm]; paper, Sec. VI."""
    power_up_min_dbm: Decibel = 0.0
    """Smallest uplink power p_min [dBm]; chosen."""
    power_down_max_dbm: Decibel = 30.0
    """Largest downlink power of a user's signal P_max [dBm]; chosen."""
    power_down_min_dbm: Decibel = 0.0
    """Smallest downlink power of a user's signal P_min [dBm]; chosen."""
    capacity: Annotated[int, Field(ge=1, le=64)] = 3
    """Largest number of users of an AP on a subchannel [users]; paper, Sec. VI. Users of an AP beyond the capacity of
    all subchannels exceed the limit; `overflow` counts them. FDMA: 1; TDMA: no limit."""
    access: Access = Access.NOMA
    """Sharing of the spectrum within a cell. `noma`: superposed signals with successive cancellation. `fdma`: one slice
    per user. `tdma`: users take turns on the subchannels. Every AP uses the whole spectrum."""
    downlink: Downlink = Downlink.PHYSICAL
    """Downlink interference within a cell. `physical`: through the receiver's own channel. `printed`: through the
    interferer's channel, as (8) is printed; chosen: physical."""
    assignment: Assignment = Assignment.SEARCH
    """Assignment of users to subchannels. `search`: local search. `li-gd`: relaxation and rounding as in Li-GD.
    `random`: at random; chosen: search."""
    power: Power = Power.OPTIMAL
    """Transmit powers. `optimal`: optimised. `full`: the largest allowed."""
    units: Units = Units.OPTIMAL
    """Units of the server per user. `optimal`: a nearly optimal share (see `server_gap`). `most`: the largest allowed
    number or, with a pool, an equal part of it for every user with work at the server. `equal`: an equal part of the
    pool for every user of the AP, with or without work."""
    sweeps: Annotated[int, Field(ge=0, le=100)] = 6
    """Largest number of sweeps of the local search [-]; chosen."""
    power_iterations: Annotated[int, Field(ge=0, le=1000)] = 8
    """Power descent steps per subchannel and sweep [-]; chosen."""
    relaxation_iterations: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Largest number of steps of Li-GD's descent [-]; chosen."""
    relaxation_tolerance: Annotated[float, Field(gt=0, le=0.1)] = 1e-5
    """Relative decrease of the cost at which Li-GD's descent stops, the paper's accuracy epsilon [-]; chosen."""
    speed_min_flop_s: Speed = 0.5e9
    """Smallest speed of a device c_i [FLOP/s]; chosen."""
    speed_max_flop_s: Speed = 3e9
    """Largest speed of a device c_i; speeds are log-uniform between the two [FLOP/s]; chosen."""
    device_j_per_flop: NonNegative = 1e-9
    """Energy of a device per operation, xi_i c_i^2 phi_i in (13) [J/FLOP]; chosen: 1 W at 1 GFLOP/s."""
    unit_speed_flop_s: Speed = 2.3e9
    """Speed of a unit of the server c_min [FLOP/s]; fitted to Figs. 2-7."""
    units_min: Positive = 1.0
    """Smallest number of units of a user r_min, without a pool [units]; fitted to Figs. 2-7."""
    units_max: Positive = 6.0
    """Largest number of units of a user r_max [units]; fitted to Figs. 2-7."""
    core_overhead: Part = 0.05
    """Loss per additional core in lambda(r) = r / (1 + loss (r - 1)) [-]; chosen: 43 % below linear at 16 cores."""
    pool_units: Positive | None = 3.0
    """Units that the users of an AP share, R_AP; None for no shared pool, as in the paper [units]; chosen."""
    background_levels: Annotated[tuple[Part, ...], Field(min_length=1, max_length=16)] = (0.0, 0.35, 0.7)
    """Parts of the pool that other tenants use: states of a Markov chain per AP with moves between adjacent states [-];
    chosen."""
    background_stay_probability: Probability = 0.9
    """Probability per step that the background load of an AP does not change; otherwise it moves up or down by one
    level, unless there is no such level [-]; chosen."""
    server_energy_coefficient: NonNegative = 1.5e-29
    """Server energy per FLOP over speed squared, xi_e phi_e in (16) [J s^2/FLOP^3]; fitted: E_dev / E_ECC near 0.89."""
    slices: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Accelerator slices of an AP. A slice holds the weights of one user, which offloads only with a slice in which the
    layers behind its cut are loaded; None: no user needs a slice, as in the paper [slices]; chosen: None."""
    weight_bits: Annotated[int, Field(ge=1, le=64)] = 8
    """With slices: bits of a weight that is loaded [bit]; chosen: quantised to a byte."""
    load_bits_per_frame: Positive = 30e6
    """With slices: weights that an AP loads into a slice in a step [bit]; chosen: the whole networks of preset
    `planning` take 1 to 5 steps."""
    weight_delay: Positive = 0.95
    """Weight w_T of the delay in the cost (19) [1/s]; fitted to Figs. 2-7."""
    weight_energy: NonNegative = 0.05
    """Weight w_E of the energy in the cost (19) [1/J]; fitted to Figs. 2-7."""
    arrivals: Arrivals = Arrivals.BURSTY
    """Tasks of a user. `bursty`: random arrivals that wait in a backlog. `one`: one task per step, as in the paper;
    chosen."""
    frame_s: Positive = 1.0
    """Duration of a step with bursty arrivals [s]; chosen."""
    quiet_rate: NonNegative = 0.5
    """Mean arrivals of a quiet user [tasks/s]; chosen."""
    burst_rate: NonNegative = 4.0
    """Mean arrivals of a user in a burst [tasks/s]; chosen."""
    burst_begins_probability: Annotated[float, Field(gt=0, le=1)] = 0.033
    """Probability per step that a quiet user's burst begins [-]; chosen."""
    burst_ends_probability: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Probability per step that a burst ends [-]; chosen."""
    queue_max: Positive = 20.0
    """Largest backlog of a user; tasks beyond it are dropped [tasks]; chosen."""
    drop_s: NonNegative = 10.0
    """Delay that the cost contains for a dropped task [s]; chosen."""

    renamed: ClassVar[Mapping[str, str]] = {
        "noise_dbm_hz": "noise_dbm_per_hz", "delay_weight": "weight_delay", "energy_weight": "weight_energy",
        "server_coefficient": "server_energy_coefficient", "feature_bits": "word_bits", "actions": "cuts",
    }  # fmt: skip
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "large": {
            "num_users": 30, "num_aps": 3, "num_subchannels": 10, "side_m": 600.0, "bandwidth_up_hz": 1e6,
            "bandwidth_down_hz": 1e6, "pool_units": 5.0,
        },
        "paper": {
            "num_users": 250, "num_aps": 5, "num_subchannels": 30, "side_m": 1000.0, "placement": "balanced",
            "bandwidth_up_hz": 5e6, "bandwidth_down_hz": 5e6, "fading_correlation": 0.0, "csi_delay": 0,
            "speed_min_flop_s": 1e9, "speed_max_flop_s": 1e9, "pool_units": None, "background_levels": (0.0,),
            "arrivals": "one",
        },
        "paper-literal": {
            "num_users": 1250, "num_aps": 5, "num_subchannels": 250, "side_m": 1000.0, "bandwidth_up_hz": 10e6,
            "bandwidth_down_hz": 10e6, "fading_correlation": 0.0, "csi_delay": 0, "speed_min_flop_s": 1e9,
            "speed_max_flop_s": 1e9, "pool_units": None, "background_levels": (0.0,), "arrivals": "one",
        },
        "planning": PLANNING,
    }  # fmt: skip

    @field_validator("networks")
    @classmethod
    def _known(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            parse_network(network)
        return networks

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.check_order(
            ("speed_min_flop_s", "speed_max_flop_s", "FLOP/s"),
            ("power_up_min_dbm", "power_up_max_dbm", "dBm"),
            ("power_down_min_dbm", "power_down_max_dbm", "dBm"),
            ("units_min", "units_max", "units"),
        )
        links = self.num_users * self.num_aps * self.num_subchannels
        self.limit_array(4 * links, 8, "num_users", "num_aps", "num_subchannels")
        if self.placement == Placement.BALANCED and self.num_users % self.num_aps:
            raise ValueError(
                f"placement='balanced' needs num_users={self.num_users} to be a multiple of num_aps={self.num_aps}; "
                "change one, or use placement='uniform'"
            )
        if self.access != Access.NOMA and self.assignment == Assignment.LI_GD:
            raise ValueError(f"assignment='li-gd' needs access='noma', not {self.access!r}; use assignment='search'")
        if self.access == Access.TDMA and (self.power, self.assignment) != (Power.FULL, Assignment.SEARCH):
            raise ValueError(
                f"access='tdma' sends at full power on the best subchannels, so power={self.power!r} with "
                f"assignment={self.assignment!r} is not possible; use power='full' and assignment='search'"
            )
        if self.units == Units.EQUAL and self.pool_units is None:
            raise ValueError("units='equal' needs a pool to divide; give pool_units")
        self._check_arrivals()
        return self

    def _check_arrivals(self) -> None:
        for name in ("quiet_rate", "burst_rate"):
            if getattr(self, name) * self.frame_s > MEAN_ARRIVALS_MAX:
                raise ValueError(
                    f"{name}={getattr(self, name):g} tasks/s at frame_s={self.frame_s:g} is above "
                    f"{MEAN_ARRIVALS_MAX:g} tasks per step; make one of them smaller"
                )
        if self.arrivals == Arrivals.BURSTY and self.mean_arrivals == 0.0:
            raise ValueError("quiet_rate=0.0 and burst_rate=0.0 leave no tasks; make one of them positive")

    @property
    def mean_arrivals(self) -> float:
        """Mean number of tasks per user and step."""
        if self.arrivals == Arrivals.ONE:
            return 1.0
        burst = self.burst_begins_probability / (self.burst_begins_probability + self.burst_ends_probability)
        return (self.quiet_rate * (1.0 - burst) + self.burst_rate * burst) * self.frame_s
