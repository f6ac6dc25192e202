"""Parameters of the split-learning system, their units, sources and presets."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from edge_envs.core.config import Bandwidth, Exponent, Length, NonNegative, Positive, Probability, SystemConfig
from edge_envs.core.physics.networks import Cuts, parse_network
from edge_envs.dtirs.solvers.irs_links import INDEPENDENT, UPLINKS
from edge_envs.dtirs.solvers.phases import factor_rank

Count = Annotated[int, Field(ge=1, le=1024)]

OPTIMAL, THRESHOLD, NO_TWIN = range(3)
TWINS = ("optimal", "threshold", "none")
SDR, ASCENT, RANDOM = range(3)
PHASES = ("sdr", "ca", "random")
FIXED, EPISODE, FRAME = range(3)
DEVICES = ("fixed", "episode", "frame")
DEVICE_DRAWS = 3
"""Uniforms of a device beside one per layer: speed, place, first waypoint."""


class Parameters(NamedTuple):
    """What the compiled kernels read: SI numbers and flat arrays, derived once from the configuration."""

    num_devices: int
    num_antennas: int
    num_elements: int
    num_layers: int
    extended: bool
    cut_numbers: NDArray[np.int64]  # (L,) layers on the device, by choice
    bits_down: NDArray[np.float64]  # (L,) gradients down, by choice
    bits_up: NDArray[np.float64]  # (L,) features up
    sync_bits: NDArray[np.float64]  # (L,) twin's weights up
    leakage_s: NDArray[np.float64]  # (L,)
    layer_flop_min: float
    layer_flop_max: float
    speed_min_flop_s: float
    speed_max_flop_s: float
    share_min: float
    share_mean: float
    share_deviation: float
    share_correlation: float
    devices: int
    fixed_devices: NDArray[np.float64]  # (K, M + DEVICE_DRAWS) uniforms of the fixed devices
    distance_min_m: float
    distance_max_m: float
    step_m: float
    ap_irs_gain: float
    reference_gain: float
    irs_ud_exponent: float
    direct_gain: float
    fading_correlation: float
    uplink: int
    irs: bool
    bandwidth_hz: float  # of one device
    noise_w: float
    power_total_w: float
    power_max_w: float
    power_uplink_w: float
    equal_power: bool
    pool_flop_s: float
    pool_levels: NDArray[np.float64]  # (levels,)
    pool_stay_probability: float
    backlog: bool
    frame_s: float
    twins: int
    compute_delay_max_s: float
    rate_min_bit_s: float
    phase: int
    phase_rank: int
    phase_samples: int
    phase_polish: bool
    phase_gap: float
    phase_passes: int
    loss_s: float
    energy_coefficient: float
    flop_per_cycle: float


class DTIRSConfig(SystemConfig):
    """Configuration of `DTIRS-v0`; defaults follow Sec. VI of the paper where it gives a value."""

    num_devices: Count = 10
    """Number of devices K [devices]; chosen: small enough for many frames; the paper has 100."""
    num_antennas: Count = 32
    """Antennas of the AP [antennas]; paper, Sec. VI."""
    num_elements: Annotated[int, Field(ge=1, le=512)] = 32
    """Elements of the IRS [elements]; paper, Sec. VI."""
    model: Literal["extended", "printed"] = "extended"
    """The paper's delays, at which the first cut is best (with the best twins, or none), or with four terms more: the
    AP's computing, one pool for back ends and twins, feature sizes by cut, a twin's weights sent; chosen: extended."""
    network: str = "vgg12@32"
    """Network as name@input_size [pixels]: its layers, feature sizes and weights; chosen: 12 layers as in Sec. VI."""
    cuts: Literal["useful", "all"] = "useful"
    """Cuts to choose from: all, or those not dominated in (device work, feature size); chosen. A leakage makes
    later cuts worth more than that."""
    first_cut: Annotated[int, Field(ge=0, le=1)] = 1
    """Smallest cut [layers]; paper, (19): 1. With 0 the raw input may be sent too, for Full Offload."""
    batch_size: Count = 8
    """Samples of one exchange [samples]; chosen: makes the network's work that of Sec. VI."""
    value_bits: Annotated[int, Field(ge=1, le=64)] = 8
    """Bits of a feature or gradient value [bit]; chosen."""
    weight_bits: Annotated[int, Field(ge=1, le=64)] = 8
    """Bits of a weight that a twin is sent [bit]; chosen."""
    bits_downlink: NonNegative = 5e5
    """With model="printed": data down per device, at any cut [bit]; fitted to Fig. 5."""
    bits_uplink: NonNegative = 5e5
    """With model="printed": data up per device, at any cut [bit]; fitted to Fig. 5."""
    layer_flop_min: NonNegative = 0.5e9
    """Smallest work of a layer C_k,m [FLOP]; paper, Sec. VI."""
    layer_flop_max: Positive = 1.5e9
    """Largest work of a layer C_k,m [FLOP]; paper, Sec. VI."""
    speed_min_flop_s: Positive = 5e9
    """Smallest speed of a device f_loc without other load [FLOP/s]; paper, Sec. VI, at one FLOP per cycle."""
    speed_max_flop_s: Positive = 12e9
    """Largest speed of a device f_loc without other load [FLOP/s]; paper, Sec. VI, at one FLOP per cycle."""
    device_share_min: Annotated[float, Field(ge=1e-6, le=1)] = 0.4
    """Smallest part of its speed that other load leaves a device; 1 for no other load [-]; chosen."""
    device_share_mean: Annotated[float, Field(ge=1e-6, le=1)] = 0.7
    """Middle of that part [-]; chosen."""
    device_share_deviation: NonNegative = 0.25
    """Standard deviation of that part before it is clipped [-]; chosen."""
    device_share_correlation: Probability = 0.8
    """Correlation of that part from frame to frame, 1 for a constant one [-]; chosen."""
    devices: Literal["fixed", "episode", "frame"] = "episode"
    """When speeds, layers' works and places are drawn: once by `devices_seed`, each episode or each frame; chosen: each
    episode."""
    devices_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of fixed devices [-]; chosen."""
    distance_min_m: Length = 3.0
    """Smallest distance of a device to the IRS [m]; fitted to Fig. 5."""
    distance_max_m: Length = 13.0
    """Largest distance of a device to the IRS [m]; fitted to Fig. 5."""
    speed_m_per_s: NonNegative = 1.0
    """Speed of a device on its way to its next random distance, 0 for standing still [m/s]; chosen."""
    ap_irs_distance_m: Length = 30.0
    """Distance of AP and IRS [m]; fitted to Fig. 5."""
    reference_gain_db: Annotated[float, Field(ge=-200, le=0)] = -30.0
    """Gain at 1 m C_0 [dB]; paper, Sec. VI."""
    ap_irs_exponent: Exponent = 2.2
    """Path loss exponent between AP and IRS [-]; paper, Sec. VI."""
    irs_ud_exponent: Exponent = 2.8
    """Path loss exponent between IRS and devices [-]; paper, Sec. VI."""
    fading_correlation: Probability = 0.0
    """Correlation of the complex fading from frame to frame, 1 for static channels [-]; paper: 0."""
    uplink: Literal["reciprocal", "hermitian", "independent"] = "reciprocal"
    """Uplink channel: the transpose of the downlink, G^H as printed, or its own; chosen: reciprocal."""
    irs: bool = True
    """Whether links go over the IRS; otherwise over the blocked direct path."""
    direct_distance_m: Length = 30.0
    """Length of the direct path [m]; chosen."""
    direct_exponent: Exponent = 2.8
    """Path loss exponent of the direct path [-]; chosen."""
    direct_blockage_db: NonNegative = 35.3
    """Loss of the direct path by what blocks it [dB]; fitted to Fig. 5."""
    offline: bool = False
    """With model="printed": whether devices exchange nothing with the AP, for Full Local."""
    bandwidth_hz: Bandwidth = 2e6
    """Bandwidth B [Hz]; fitted to Fig. 5."""
    bandwidth_sharing: Literal["each", "shared"] = "each"
    """Whether B is each device's own, or one for all in equal parts; chosen: the paper's formula, not its text."""
    noise_w: Positive = 1e-11
    """Noise power sigma^2, whatever the bandwidth [W]; paper, Sec. VI."""
    power_total_w: Positive = 0.3
    """Sum of the downlink powers P_total [W]; chosen: 30 mW per device, as in Sec. VI with its 3 W for 100 devices."""
    power_max_w: Positive = 0.3
    """Largest downlink power of a device P_max [W]; chosen."""
    power_uplink_w: Positive = 0.1
    """Transmit power of a device P_UL [W]; chosen."""
    power: Literal["optimal", "equal"] = "optimal"
    """Downlink powers of (61), or the same for everybody."""
    twin_budget_flop_s: Positive = 5e12
    """With model="printed": budget of the twins' boosts Delta f_max [FLOP/s]; fitted to Fig. 5."""
    pool_per_device_flop_s: Positive = 2e10
    """With model="extended": speed of the AP per device, shared by back ends and twins [FLOP/s]; chosen."""
    pool_levels: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=16)] = (0.4, 1.0, 1.6)
    """Levels of that speed, a Markov chain; one level for a constant one [-]; chosen."""
    pool_stay_probability: Probability = 0.7
    """Probability per frame that the level stays [-]; chosen."""
    backlog: bool = False
    """Whether the AP's unfinished work of earlier frames is served first, which delays all new work there: back ends,
    and what boosts contribute to twins; chosen: no."""
    frame_s: Positive = 1.0
    """Time from frame to frame: for mobility and the backlog [s]; chosen."""
    twins: Literal["optimal", "threshold", "none"] = "optimal"
    """Who computes on a twin: the best choice, rule (29), or nobody; chosen: the best choice."""
    compute_delay_total_s: Positive = 6.0
    """T_max of (26) and (29) for all devices together; one has its K-th part [s]; fitted to Fig. 3."""
    rate_min_bit_s: NonNegative = 5e3
    """Smallest uplink rate R_min [bit/s]; paper, Sec. VI; only counted, as no algorithm of the paper uses it."""
    phase: Literal["sdr", "ca", "random"] = "sdr"
    """IRS phases: semidefinite relaxation, coordinate ascent from random phases, or random ones."""
    phase_samples: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Directions drawn from the relaxed solution [-]; chosen."""
    phase_polish: bool = True
    """Coordinate ascent after the draws, which Algorithm 4 does not have [-]; chosen."""
    phase_gap: Annotated[float, Field(ge=1e-9, le=1e-2)] = 1e-6
    """Duality gap to which the relaxation is solved [-]; chosen."""
    phase_passes: Annotated[int, Field(ge=0, le=20)] = 0
    """Further phases for gains weighted by what they save in delay, each kept only if the delay falls [-]; chosen."""
    leakage_s: NonNegative = 0.0
    """Price of what a cut's features reveal, leakage_s exp(-(m - 1) / leakage_layers) per device; none at the last cut,
    where nothing is sent, and for the raw input that of the first [s]; chosen: 0."""
    leakage_layers: Positive = 3.0
    """Layers over which that falls by e [layers]; chosen."""
    loss_weight_s: NonNegative = 1.0
    """Weight lambda of the training loss in (18) [s/nat]; chosen: a constant, as the loss does not depend on cuts."""
    loss_nats: NonNegative = 1e-3
    """Training loss of (17) [nat]; the order of Fig. 7."""
    energy_coefficient: NonNegative = 1e-28
    """kappa in a device's computing energy kappa f^2 C [W s^3]; paper, Sec. VI, where no equation uses it."""
    flop_per_cycle: Positive = 1.0
    """FLOP per processor cycle, for that energy [FLOP/cycle]; chosen."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "paper": {
            "num_devices": 100, "model": "printed", "cuts": "all", "devices": "frame", "device_share_min": 1.0,
            "twins": "threshold", "power_total_w": 3.0, "phase_polish": False,
        },
        "dense": {"num_devices": 100, "power_total_w": 3.0},
    }  # fmt: skip

    @field_validator("network")
    @classmethod
    def _known(cls, network: str) -> str:
        parse_network(network)
        return network

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for low, high, unit in (
            ("layer_flop_min", "layer_flop_max", "FLOP"),
            ("speed_min_flop_s", "speed_max_flop_s", "FLOP/s"),
            ("distance_min_m", "distance_max_m", "m"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low}={getattr(self, low):g} is above {high}={getattr(self, high):g} [{unit}]; swap")
        if self.model == "printed":
            if self.cuts == "useful":
                raise ValueError("cuts='useful' leaves only the first cut of model='printed'; use cuts='all'")
            for name, off in (("first_cut", 1), ("backlog", False), ("leakage_s", 0.0)):
                if getattr(self, name) != off:
                    raise ValueError(f"{name}={getattr(self, name)!r} needs model='extended'; use {name}={off!r}")
        elif self.offline:
            raise ValueError("offline=True needs model='printed'; otherwise the last cut exchanges nothing anyway")
        if self.phase_passes and not self.irs:
            raise ValueError(f"phase_passes={self.phase_passes} has no IRS to set with irs=False; use phase_passes=0")
        if self.phase_passes and self.phase == "random":
            raise ValueError(f"phase_passes={self.phase_passes} needs phase='sdr' or 'ca'; use phase_passes=0")
        if len(self.cut_numbers) < 2:
            raise ValueError(f"network={self.network!r} has only one cut to choose; take a longer one")
        return self

    @cached_property
    def network_cuts(self) -> Cuts:
        """All cuts of the network, from the raw input to the last layer."""
        return parse_network(self.network).cuts(word_bits=self.value_bits, useful=False)

    @cached_property
    def cut_numbers(self) -> NDArray[np.int64]:
        """Layers on the device by choice, shape (L,)."""
        bits = self.network_cuts.bits
        numbers = np.arange(1, len(bits))
        if self.cuts == "useful":
            numbers = np.array([m for m in numbers if bits[m] < bits[1:m].min(initial=np.inf)])
        return np.concatenate([[0], numbers]) if self.first_cut == 0 else numbers

    @property
    def device_bandwidth_hz(self) -> float:
        """Bandwidth of one device [Hz]."""
        return self.bandwidth_hz / self.num_devices if self.bandwidth_sharing == "shared" else self.bandwidth_hz

    @property
    def num_layers(self) -> int:
        """Layers of the network M."""
        return len(self.network_cuts.names) - 1

    def _exchanged_bits(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Bits down, up, and of a twin's weights, by choice."""
        numbers = self.cut_numbers
        if self.model == "printed":
            flat = np.full(len(numbers), 0.0 if self.offline else 1.0)
            return flat * self.bits_downlink, flat * self.bits_uplink, np.zeros(len(numbers))
        features = self.network_cuts.bits[numbers] * self.batch_size
        down = np.where(numbers == 0, 0.0, features)  # nothing is learnt in front of the raw input
        return down, features, self.network_cuts.device_parameters[numbers] * float(self.weight_bits)

    def kernel(self) -> Parameters:
        """The configuration as the kernels read it."""
        down, up, sync = self._exchanged_bits()
        reference_gain = 10.0 ** (self.reference_gain_db / 10.0)
        blockage = 10.0 ** (-self.direct_blockage_db / 10.0)
        extended = self.model == "extended"
        draws = np.random.default_rng(self.devices_seed).random((self.num_devices, self.num_layers + DEVICE_DRAWS))
        leakage = self.leakage_s * np.exp(-np.maximum(self.cut_numbers - 1.0, 0.0) / self.leakage_layers)
        leakage[self.cut_numbers == self.num_layers] = 0.0
        return Parameters(
            num_devices=self.num_devices,
            num_antennas=self.num_antennas,
            num_elements=self.num_elements,
            num_layers=self.num_layers,
            extended=extended,
            cut_numbers=self.cut_numbers,
            bits_down=down,
            bits_up=up,
            sync_bits=sync,
            leakage_s=leakage,
            layer_flop_min=self.layer_flop_min,
            layer_flop_max=self.layer_flop_max,
            speed_min_flop_s=self.speed_min_flop_s,
            speed_max_flop_s=self.speed_max_flop_s,
            share_min=self.device_share_min,
            share_mean=self.device_share_mean,
            share_deviation=self.device_share_deviation,
            share_correlation=self.device_share_correlation,
            devices=DEVICES.index(self.devices),
            fixed_devices=draws,
            distance_min_m=self.distance_min_m,
            distance_max_m=self.distance_max_m,
            step_m=self.speed_m_per_s * self.frame_s,
            ap_irs_gain=reference_gain * self.ap_irs_distance_m**-self.ap_irs_exponent,
            reference_gain=reference_gain,
            irs_ud_exponent=self.irs_ud_exponent,
            direct_gain=reference_gain * self.direct_distance_m**-self.direct_exponent * blockage,
            fading_correlation=self.fading_correlation,
            uplink=UPLINKS.index(self.uplink),
            irs=self.irs,
            bandwidth_hz=self.device_bandwidth_hz,
            noise_w=self.noise_w,
            power_total_w=self.power_total_w,
            power_max_w=self.power_max_w,
            power_uplink_w=self.power_uplink_w,
            equal_power=self.power == "equal",
            pool_flop_s=self.pool_per_device_flop_s * self.num_devices if extended else self.twin_budget_flop_s,
            pool_levels=np.array(self.pool_levels if extended else (1.0,)),
            pool_stay_probability=self.pool_stay_probability,
            backlog=self.backlog,
            frame_s=self.frame_s,
            twins=TWINS.index(self.twins),
            compute_delay_max_s=self.compute_delay_total_s / self.num_devices,
            rate_min_bit_s=self.rate_min_bit_s,
            phase=PHASES.index(self.phase),
            phase_rank=factor_rank(self.num_elements),
            phase_samples=self.phase_samples,
            phase_polish=self.phase_polish,
            phase_gap=self.phase_gap,
            phase_passes=self.phase_passes,
            loss_s=self.loss_weight_s * self.loss_nats,
            energy_coefficient=self.energy_coefficient,
            flop_per_cycle=self.flop_per_cycle,
        )

    @property
    def normals_per_frame(self) -> int:
        """Standard normals that a frame uses: fading of all links, the devices' load, starts and samples of phases."""
        users, antennas, elements = self.num_devices, self.num_antennas, self.num_elements
        links = antennas * elements * (2 if UPLINKS.index(self.uplink) == INDEPENDENT else 1)
        channels = 2 * (links + users * elements + users * antennas)
        return channels + users + 2 * factor_rank(elements) * (elements + self.phase_samples)

    @property
    def uniforms_per_frame(self) -> int:
        """Uniforms that a frame uses: the pool's level, waypoints, and everything about devices."""
        return 2 + self.num_devices * (1 + self.num_layers + DEVICE_DRAWS)
