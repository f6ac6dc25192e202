"""Parameters of split inference over multi-cell NOMA, their units, sources and presets."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from edge_envs.core.config import Bandwidth, Exponent, Length, NonNegative, Positive, Probability, SystemConfig
from edge_envs.core.physics.networks import Cuts, parse_network
from edge_envs.core.physics.units import db_to_linear, dbm_to_watt
from edge_envs.eccnoma.model.geometry import cell_centres
from edge_envs.eccnoma.solvers.radio import DOWNLINK, DOWNLINK_PRINTED, default_candidates

Speed = Annotated[float, Field(ge=1.0, le=1e18)]
Count = Annotated[int, Field(ge=1, le=4096)]
Part = Annotated[float, Field(ge=0, lt=1)]
Decibel = Annotated[float, Field(ge=-300, le=300)]

NOMA, FDMA, TDMA = range(3)
ACCESS = ("noma", "fdma", "tdma")
SEARCH, LI_GD, RANDOM = range(3)
ASSIGNMENT = ("search", "li-gd", "random")
OPTIMAL, MOST, EQUAL = range(3)
UNITS = ("optimal", "most", "equal")
MEAN_ARRIVALS_MAX = 50.0
"""Tasks per frame above which the arrivals' draws would lose their digits."""


class Parameters(NamedTuple):
    """What the compiled kernels read: SI numbers and flat arrays, derived once from the configuration."""

    num_users: int
    num_aps: int
    num_subchannels: int
    num_choices: int
    choices: NDArray[np.int64]  # (networks,) cuts of each network that a user may choose
    first_choice: NDArray[np.int64]  # (networks,) the one with nothing on the device
    last_choice: NDArray[np.int64]  # (networks,) the one with everything there
    cut_number: NDArray[np.int64]  # (networks, C) layers on the device, by choice
    device_flop: NDArray[np.float64]  # (networks, C)
    server_flop: NDArray[np.float64]  # (networks, C)
    bits_up: NDArray[np.float64]  # (networks, C) 0 where all is done on the device
    result_bits: float
    ap_position_m: NDArray[np.float64]  # (N, 2)
    distance_min_m: float
    path_loss_exponent: float
    reference_gain: float
    correlation: float
    stale: bool
    bandwidth_up_hz: float  # of all subchannels
    bandwidth_down_hz: float
    noise_density_w_hz: float
    power_up_min_w: float
    power_up_max_w: float
    power_down_min_w: float
    power_down_max_w: float
    capacity: int
    access: int
    downlink: int
    assignment: int
    full_power: bool
    units: int
    sweeps: int
    power_iterations: int
    relaxation_iterations: int
    relaxation_tolerance: float
    device_j_per_flop: float
    unit_speed_flop_s: float
    units_min: float
    units_max: float
    overhead: float
    pool: bool
    pool_units: float
    background: NDArray[np.float64]  # (levels,) part of the pool taken by others
    background_stay: float
    server_coefficient: float  # xi_e phi
    delay_weight: float
    energy_weight: float
    bursty: bool
    frame_s: float
    arrival_rate: NDArray[np.float64]  # (2,) tasks per frame, quiet and burst
    burst_begins: float
    burst_ends: float
    queue_max: float
    drop_s: float
    mean_arrivals: float  # tasks per frame


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
    """Networks as name@input_size [pixels]; a user has one of them, drawn each episode; paper, Sec. VI: NiN, YOLOv2,
    VGG16 on CIFAR-10, here as chains of 9, 17 and 24 layers."""
    actions: Literal["pareto", "all"] = "pareto"
    """Cuts to choose from: those not dominated in (device work, bits to send), edge first, then device, then what lies
    between; or all layers in their order; chosen: pareto."""
    feature_bits: Annotated[int, Field(ge=1, le=64)] = 32
    """Bits of a feature value [bit]; chosen: float32."""
    input_bits: Annotated[int, Field(ge=1, le=64)] = 8
    """Bits of a value of the raw image [bit]; CIFAR-10."""
    result_bits: Positive = 320.0
    """Size of the result m_i [bit]; chosen: ten float32."""
    side_m: Positive = 400.0
    """Side of the square with all users and APs [m]; chosen."""
    distance_min_m: Length = 10.0
    """Least distance of a user to an AP [m]; chosen."""
    placement: Literal["uniform", "balanced"] = "uniform"
    """Places of the users, drawn each episode: anywhere, or so that each AP is nearest to equally many; chosen."""
    path_loss_exponent: Exponent = 5.0
    """Path loss exponent [-]; paper, Sec. VI."""
    reference_gain_db: Decibel = 0.0
    """Gain at 1 m [dB]; paper: distance to the power of -5."""
    fading_correlation: Probability = 0.9
    """Correlation of the complex Rayleigh fading from frame to frame, 0 for fresh fading [-]; chosen; paper: 0."""
    csi_delay: Annotated[int, Field(ge=0, le=1)] = 1
    """Age of the channels and of the pool's background load that are observed [frames]; chosen; paper: 0."""
    bandwidth_up_hz: Bandwidth = 0.5e6
    """Uplink bandwidth B_up of all subchannels [Hz]; chosen; paper, Sec. VI: 10 MHz in all."""
    bandwidth_down_hz: Bandwidth = 0.5e6
    """Downlink bandwidth B_down of all subchannels [Hz]; chosen."""
    noise_dbm_hz: Decibel = -174.0
    """Noise power spectral density [dBm/Hz]; paper, Sec. VI."""
    power_up_max_dbm: Decibel = 25.0
    """Largest uplink power p_max [dBm]; paper, Sec. VI."""
    power_up_min_dbm: Decibel = 0.0
    """Least uplink power p_min [dBm]; chosen."""
    power_down_max_dbm: Decibel = 30.0
    """Largest downlink power of a user's signal P_max [dBm]; chosen."""
    power_down_min_dbm: Decibel = 0.0
    """Least downlink power of a user's signal P_min [dBm]; chosen."""
    capacity: Annotated[int, Field(ge=1, le=64)] = 3
    """Most users of an AP on a subchannel [users]; paper, Sec. VI. Where an AP has no other seats more are put there
    and counted as `overflow`. With FDMA it is one, with TDMA there is none."""
    access: Literal["noma", "fdma", "tdma"] = "noma"
    """Sharing of the spectrum: superposed signals with successive cancellation, a slice of it per user of an AP, or
    turns on the subchannels. All APs use all of it."""
    downlink: Literal["physical", "printed"] = "physical"
    """Downlink interference within a cell through the receiver's own channel, or through the interferer's as (8) is
    printed; chosen: physical."""
    assignment: Literal["search", "li-gd", "random"] = "search"
    """Who sends on which subchannel: local search, Li-GD's relaxation with rounding, or at random; chosen: search."""
    power: Literal["optimal", "full"] = "optimal"
    """Whether powers are optimised or at their most."""
    units: Literal["optimal", "most", "equal"] = "optimal"
    """Units of the server for a user: nearly the best share (see `server_gap`), as many as can be (of a pool an equal
    part for each that asks), or an equal part of the pool for each user of the AP, whether it asks or not."""
    sweeps: Annotated[int, Field(ge=0, le=100)] = 6
    """Most sweeps of the local search [-]; chosen."""
    power_iterations: Annotated[int, Field(ge=0, le=1000)] = 8
    """Power descent steps per subchannel and sweep [-]; chosen."""
    relaxation_iterations: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Most steps of Li-GD's descent [-]; chosen."""
    relaxation_tolerance: Annotated[float, Field(gt=0, le=0.1)] = 1e-5
    """Relative fall of the cost that ends Li-GD's descent, its accuracy epsilon [-]; chosen."""
    speed_min_flop_s: Speed = 0.5e9
    """Smallest speed of a device c_i [FLOP/s]; chosen."""
    speed_max_flop_s: Speed = 3e9
    """Largest speed of a device c_i, log-uniform between the two [FLOP/s]; chosen."""
    device_j_per_flop: NonNegative = 1e-9
    """Energy of a device per operation, xi_i c_i^2 phi_i in (13) [J/FLOP]; chosen: 1 W at 1 GFLOP/s."""
    unit_speed_flop_s: Speed = 2.3e9
    """Speed of a unit of the server c_min [FLOP/s]; fitted to Figs. 2-7."""
    units_min: Positive = 1.0
    """Least units of a user r_min, without a pool [units]; fitted to Figs. 2-7."""
    units_max: Positive = 6.0
    """Most units of a user r_max [units]; fitted to Figs. 2-7."""
    core_overhead: Part = 0.05
    """Loss per further core in lambda(r) = r / (1 + loss (r - 1)) [-]; chosen: 43 % below linear at 16 cores."""
    pool_units: Positive | None = 3.0
    """Units that an AP's users share R_AP; None for none to share, as in the paper [units]; chosen."""
    background_levels: Annotated[tuple[Part, ...], Field(min_length=1, max_length=16)] = (0.0, 0.35, 0.7)
    """Parts of the pool that other tenants take, a Markov chain from neighbour to neighbour per AP [-]; chosen."""
    background_stay_probability: Probability = 0.9
    """Probability per frame that an AP's level stays; else it moves up or down, and stays where there is no such level
    [-]; chosen."""
    server_coefficient: NonNegative = 1.5e-29
    """xi_e phi_e in (16), energy per operation over speed squared [J s^2/FLOP^3]; fitted: E_dev / E_ECC about 0.89."""
    delay_weight: Positive = 0.95
    """w_T in (19) [1/s]; fitted to Figs. 2-7."""
    energy_weight: NonNegative = 0.05
    """w_E in (19) [1/J]; fitted to Figs. 2-7."""
    arrivals: Literal["bursty", "one"] = "bursty"
    """Tasks of a user: random ones that wait in a backlog, or one per frame, as in the paper; chosen."""
    frame_s: Positive = 1.0
    """Length of a frame, with bursty arrivals [s]; chosen."""
    quiet_rate: NonNegative = 0.5
    """Mean arrivals of a quiet user [tasks/s]; chosen."""
    burst_rate: NonNegative = 4.0
    """Mean arrivals of a user in a burst [tasks/s]; chosen."""
    burst_begins_probability: Annotated[float, Field(gt=0, le=1)] = 0.033
    """Probability per frame that a quiet user's burst begins [-]; chosen."""
    burst_ends_probability: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Probability per frame that a burst ends [-]; chosen."""
    queue_max: Positive = 20.0
    """Largest backlog of a user; what comes above is dropped [tasks]; chosen."""
    drop_s: NonNegative = 10.0
    """Delay that a dropped task counts as [s]; chosen."""

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
    }  # fmt: skip

    @field_validator("networks")
    @classmethod
    def _known(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            parse_network(network)
        return networks

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for low, high, unit in (
            ("speed_min_flop_s", "speed_max_flop_s", "FLOP/s"),
            ("power_up_min_dbm", "power_up_max_dbm", "dBm"),
            ("power_down_min_dbm", "power_down_max_dbm", "dBm"),
            ("units_min", "units_max", "units"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low}={getattr(self, low):g} is above {high}={getattr(self, high):g} [{unit}]; swap")
        links = self.num_users * self.num_aps * self.num_subchannels
        self.limit_array(4 * links, 8, "num_users", "num_aps", "num_subchannels")
        if self.placement == "balanced" and self.num_users % self.num_aps:
            raise ValueError(
                f"placement='balanced' needs num_users={self.num_users} to be a multiple of num_aps={self.num_aps}; "
                "change one, or use placement='uniform'"
            )
        if self.access != "noma" and self.assignment == "li-gd":
            raise ValueError(f"assignment='li-gd' needs access='noma', not {self.access!r}; use assignment='search'")
        if self.access == "tdma" and (self.power, self.assignment) != ("full", "search"):
            raise ValueError(
                f"access='tdma' sends at full power on the best subchannels, so power={self.power!r} with "
                f"assignment={self.assignment!r} is not possible; use power='full' and assignment='search'"
            )
        if self.units == "equal" and self.pool_units is None:
            raise ValueError("units='equal' needs a pool to divide; give pool_units")
        for name in ("quiet_rate", "burst_rate"):
            if getattr(self, name) * self.frame_s > MEAN_ARRIVALS_MAX:
                raise ValueError(
                    f"{name}={getattr(self, name):g} tasks/s at frame_s={self.frame_s:g} is above "
                    f"{MEAN_ARRIVALS_MAX:g} tasks per frame; make one of them smaller"
                )
        if self.arrivals == "bursty" and self.mean_arrivals == 0.0:
            raise ValueError("quiet_rate=0.0 and burst_rate=0.0 leave no tasks; make one of them positive")
        return self

    @cached_property
    def network_cuts(self) -> tuple[Cuts, ...]:
        """Cuts to choose from, per network, in the order of the layers."""
        return tuple(
            parse_network(name).cuts(self.feature_bits, self.actions == "pareto", self.input_bits)
            for name in self.networks
        )

    @cached_property
    def layer_cuts(self) -> tuple[Cuts, ...]:
        """All cuts per network, from the raw input to the last layer."""
        return tuple(parse_network(name).cuts(self.feature_bits, False, self.input_bits) for name in self.networks)

    @cached_property
    def cut_numbers(self) -> tuple[NDArray[np.int64], ...]:
        """Layers on the device by choice, per network: with pareto edge (0), device (all), then the cuts between."""
        numbers = []
        for cuts, layers in zip(self.network_cuts, self.layer_cuts, strict=True):
            number = np.array([layers.names.index(name) for name in cuts.names])
            order = [0, len(number) - 1, *range(1, len(number) - 1)] if self.actions == "pareto" else range(len(number))
            numbers.append(number[list(order)])
        return tuple(numbers)

    @property
    def mean_arrivals(self) -> float:
        """Mean tasks per user and frame."""
        if self.arrivals == "one":
            return 1.0
        burst = self.burst_begins_probability / (self.burst_begins_probability + self.burst_ends_probability)
        return (self.quiet_rate * (1.0 - burst) + self.burst_rate * burst) * self.frame_s

    @property
    def most_bands(self) -> int:
        """Into how many bands the spectrum is cut at most: slices can be as many as users."""
        return max(self.num_users, self.num_subchannels) if self.access == "fdma" else self.num_subchannels

    @property
    def candidates(self) -> int:
        """Bands that a user tries in the search."""
        return default_candidates(self.most_bands)

    def _tables(self) -> dict[str, NDArray[Any]]:
        """Cut tables (networks, C); choices beyond a network's own repeat the last layer."""
        width = max(len(numbers) for numbers in self.cut_numbers)
        names = ("device_flop", "server_flop", "bits")
        rows: dict[str, list[NDArray[Any]]] = {"cut_number": [], **{name: [] for name in names}}
        for numbers, layers in zip(self.cut_numbers, self.layer_cuts, strict=True):
            padded = np.concatenate([numbers, np.full(width - len(numbers), len(layers.names) - 1)])
            rows["cut_number"].append(padded)
            for name in names:
                rows[name].append(getattr(layers, name)[padded])
        return {name: np.array(values) for name, values in rows.items()}

    def kernel(self) -> Parameters:
        """The configuration as the kernels read it."""
        tables = self._tables()
        return Parameters(
            num_users=self.num_users,
            num_aps=self.num_aps,
            num_subchannels=self.num_subchannels,
            num_choices=tables["bits"].shape[1],
            choices=np.array([len(numbers) for numbers in self.cut_numbers]),
            first_choice=np.array([numbers.argmin() for numbers in self.cut_numbers]),
            last_choice=np.array([numbers.argmax() for numbers in self.cut_numbers]),
            cut_number=tables["cut_number"],
            device_flop=tables["device_flop"],
            server_flop=tables["server_flop"],
            bits_up=tables["bits"],
            result_bits=self.result_bits,
            ap_position_m=cell_centres(self.num_aps, self.side_m),
            distance_min_m=self.distance_min_m,
            path_loss_exponent=self.path_loss_exponent,
            reference_gain=db_to_linear(self.reference_gain_db),
            correlation=self.fading_correlation,
            stale=self.csi_delay == 1,
            bandwidth_up_hz=self.bandwidth_up_hz,
            bandwidth_down_hz=self.bandwidth_down_hz,
            noise_density_w_hz=dbm_to_watt(self.noise_dbm_hz),
            power_up_min_w=dbm_to_watt(self.power_up_min_dbm),
            power_up_max_w=dbm_to_watt(self.power_up_max_dbm),
            power_down_min_w=dbm_to_watt(self.power_down_min_dbm),
            power_down_max_w=dbm_to_watt(self.power_down_max_dbm),
            capacity=self.capacity,
            access=ACCESS.index(self.access),
            downlink=DOWNLINK if self.downlink == "physical" else DOWNLINK_PRINTED,
            assignment=ASSIGNMENT.index(self.assignment),
            full_power=self.power == "full",
            units=UNITS.index(self.units),
            sweeps=self.sweeps,
            power_iterations=0 if self.power == "full" else self.power_iterations,
            relaxation_iterations=self.relaxation_iterations,
            relaxation_tolerance=self.relaxation_tolerance,
            device_j_per_flop=self.device_j_per_flop,
            unit_speed_flop_s=self.unit_speed_flop_s,
            units_min=self.units_min,
            units_max=self.units_max,
            overhead=self.core_overhead,
            pool=self.pool_units is not None,
            pool_units=0.0 if self.pool_units is None else self.pool_units,
            background=np.array(self.background_levels),
            background_stay=self.background_stay_probability,
            server_coefficient=self.server_coefficient,
            delay_weight=self.delay_weight,
            energy_weight=self.energy_weight,
            bursty=self.arrivals == "bursty",
            frame_s=self.frame_s,
            arrival_rate=np.array([self.quiet_rate, self.burst_rate]) * self.frame_s,
            burst_begins=self.burst_begins_probability,
            burst_ends=self.burst_ends_probability,
            queue_max=self.queue_max,
            drop_s=self.drop_s,
            mean_arrivals=self.mean_arrivals,
        )
