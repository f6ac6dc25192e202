"""Parameters of the split-learning system, their units, sources and presets."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from edge_envs.core.config import Bandwidth, Exponent, Length, NonNegative, Positive, Probability, SystemConfig
from edge_envs.core.physics.networks import Cuts, parse_network

Count = Annotated[int, Field(ge=1, le=1024)]


class Model(StrEnum):
    """Delay model: the paper's, or the extended one."""

    EXTENDED = "extended"
    PRINTED = "printed"


class CutSet(StrEnum):
    """Cuts that an action can choose."""

    USEFUL = "useful"
    ALL = "all"


class Devices(StrEnum):
    """Times at which speeds, layer works and positions of the devices are drawn."""

    FIXED = "fixed"
    EPISODE = "episode"
    FRAME = "frame"


class Mobility(StrEnum):
    """How devices move."""

    WAYPOINT = "waypoint"
    CIRCUIT = "circuit"


class Load(StrEnum):
    """How other load on a device evolves."""

    AUTOREGRESSIVE = "autoregressive"
    BUSY_FREE = "busy-free"


class Observation(StrEnum):
    """What is observed of a device."""

    COMPACT = "compact"
    FULL = "full"


class View(StrEnum):
    """Devices that a member sees."""

    TEAM = "team"
    OWN = "own"


class Uplink(StrEnum):
    """Relation of the uplink channel to the downlink channel."""

    RECIPROCAL = "reciprocal"
    HERMITIAN = "hermitian"
    INDEPENDENT = "independent"


class Sharing(StrEnum):
    """Bandwidth of a device: all of it, or an equal share."""

    EACH = "each"
    SHARED = "shared"


class Power(StrEnum):
    """Allocation of the downlink powers."""

    OPTIMAL = "optimal"
    EQUAL = "equal"


class Twins(StrEnum):
    """Rule that decides which devices compute on a twin."""

    OPTIMAL = "optimal"
    THRESHOLD = "threshold"
    NONE = "none"


class Phase(StrEnum):
    """Method that computes the IRS phases."""

    SDR = "sdr"
    CA = "ca"
    RANDOM = "random"


PLANNING: Mapping[str, Any] = {
    "exchanges_per_frame": 8, "migration": True, "initial_cut": 2, "speed_min_flop_s": 3e9, "speed_max_flop_s": 8e9,
    "device_load": "busy-free", "device_share_min": 0.35, "mobility": "circuit", "power": "equal", "twins": "none",
    "pool_per_device_flop_s": 1e10, "pool_levels": (0.2, 1.0, 1.8), "pool_stay_probability": 0.9, "frame_s": 10.0,
    "phase": "ca", "observation": "full", "forecast_frames": (1, 2, 3, 4, 6, 8, 12, 16), "view": "own",
}  # fmt: skip
"""Preset `planning`: weights move when a cut changes, so that a cut must be chosen for the frames to come."""


class DTIRSConfig(SystemConfig):
    """Configuration of `DTIRS-v0`; defaults follow Sec. VI of the paper where it gives a value."""

    num_devices: Count = 10
    """Number of devices K [devices]; chosen: trains fast; the paper has 100."""
    num_antennas: Count = 32
    """Antennas of the AP [antennas]; paper, Sec. VI."""
    num_elements: Annotated[int, Field(ge=1, le=512)] = 32
    """Elements of the IRS [elements]; paper, Sec. VI."""
    model: Model = Model.EXTENDED
    """Delay model. "printed": the paper's delays, for which the first cut is optimal (with optimal twins or none).
    "extended" adds the computing time of the AP, one pool for back ends and twins, feature sizes that depend on the
    cut, and the upload of twin weights; chosen: extended."""
    network: str = "vgg12@32"
    """Network as name@input_size [pixels]: its layers, feature sizes and weights; chosen: 12 layers as in Sec. VI."""
    cuts: CutSet = CutSet.USEFUL
    """Cuts to choose from: "all", or "useful" ones, not dominated in (device work, feature size); chosen: useful. This
    rule ignores the leakage penalty, which is smaller at later cuts."""
    first_cut: Annotated[int, Field(ge=0, le=1)] = 1
    """Smallest cut [layers]; paper, (19): 1. With 0, a device can also send the raw input (as in Full Offload)."""
    batch_size: Count = 8
    """Samples per exchange [samples]; chosen: the work of the network is then that of Sec. VI."""
    exchanges_per_frame: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Exchanges of a device per frame, all at the same cut [exchanges]; paper: 1."""
    word_bits: Annotated[int, Field(ge=1, le=64)] = 8
    """Bits per feature or gradient value [bit]; chosen."""
    weight_bits: Annotated[int, Field(ge=1, le=64)] = 8
    """Bits per weight that is sent to a twin or moved between a device and the AP [bit]; chosen."""
    migration: bool = False
    """True: when a device's cut changes, the weights of the layers that change sides are sent in this frame, from the
    AP or, trained, to it; chosen: no, as the paper."""
    initial_cut: Annotated[int, Field(ge=0)] | None = None
    """Cut before the first frame [layers]; None: the middle one of the cuts to choose from; chosen."""
    bits_downlink: NonNegative = 5e5
    """With model="printed": downlink data per device at every cut [bit]; fitted to Fig. 5."""
    bits_uplink: NonNegative = 5e5
    """With model="printed": uplink data per device at every cut [bit]; fitted to Fig. 5."""
    layer_flop_min: NonNegative = 0.5e9
    """Smallest work of a layer C_k,m [FLOP]; paper, Sec. VI."""
    layer_flop_max: Positive = 1.5e9
    """Largest work of a layer C_k,m [FLOP]; paper, Sec. VI."""
    speed_min_flop_s: Positive = 5e9
    """Smallest speed of a device f_loc without other load [FLOP/s]; paper, Sec. VI, at one FLOP per cycle."""
    speed_max_flop_s: Positive = 12e9
    """Largest speed of a device f_loc without other load [FLOP/s]; paper, Sec. VI, at one FLOP per cycle."""
    device_load: Load = Load.AUTOREGRESSIVE
    """Other load of a device. "autoregressive": the share that it leaves is a clipped AR(1). "busy-free": it leaves
    `device_share_min` or all, a Markov chain; chosen: autoregressive."""
    busy_probability: Probability = 0.04
    """With device_load="busy-free": probability per frame that a free device becomes busy [-]; chosen: a job comes
    every 25 free frames."""
    free_probability: Probability = 0.08
    """With device_load="busy-free": probability per frame that a busy device becomes free [-]; chosen: a job takes
    12.5 frames."""
    device_share_min: Annotated[float, Field(ge=1e-6, le=1)] = 0.4
    """Smallest share of a device's speed that is free of other load; 1: no other load [-]; chosen."""
    device_share_mean: Annotated[float, Field(ge=1e-6, le=1)] = 0.7
    """Mean of the free share of a device's speed [-]; chosen."""
    device_share_deviation: NonNegative = 0.25
    """Standard deviation of the free share of a device's speed, before clipping [-]; chosen."""
    device_share_correlation: Probability = 0.8
    """Correlation of the free share of a device's speed between consecutive frames; 1: constant [-]; chosen."""
    devices: Devices = Devices.EPISODE
    """When speeds, layer works and positions are drawn: once from `devices_seed`, every episode or every frame;
    chosen: every episode."""
    devices_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of fixed devices [-]; chosen."""
    distance_min_m: Length = 3.0
    """Smallest distance of a device to the IRS [m]; fitted to Fig. 5."""
    distance_max_m: Length = 13.0
    """Largest distance of a device to the IRS [m]; fitted to Fig. 5."""
    mobility: Mobility = Mobility.WAYPOINT
    """"waypoint": devices move between random distances. "circuit": devices travel known closed routes, each with an
    arc in the shadow of an obstacle, and stop at random; chosen: waypoint."""
    speed_m_per_s: NonNegative = 1.0
    """With mobility="waypoint": speed at which a device moves to its next random distance; 0: it does not move [m/s];
    chosen."""
    period_min_frames: Annotated[float, Field(ge=1, le=1e9)] = 30.0
    """With mobility="circuit": shortest time of a device for its circuit, without stops [frames]; chosen: a vehicle of
    about 0.2 m/s takes 300 s for the distances of the paper, and frames take 10 s."""
    period_max_frames: Annotated[float, Field(ge=1, le=1e9)] = 60.0
    """With mobility="circuit": longest time of a device for its circuit, without stops [frames]; chosen."""
    stop_probability: Probability = 0.03
    """With mobility="circuit": probability per frame that a moving device stops [-]; chosen: one or two stops per
    circuit, which no plan foresees."""
    go_probability: Probability = 0.1
    """With mobility="circuit": probability per frame that a stopped device moves on [-]; chosen: stops of 10 frames."""
    shadow_share_min: Probability = 0.2
    """With mobility="circuit": smallest share of a circuit that lies in the shadow [-]; chosen."""
    shadow_share_max: Probability = 0.4
    """With mobility="circuit": largest share of a circuit that lies in the shadow [-]; chosen."""
    shadow_db: Annotated[float, Field(ge=0, le=200)] = 20.0
    """With mobility="circuit": loss in the shadow between IRS and device [dB]; chosen: a metal rack or a machine in the
    line of sight. At 15 dB and below, planning is worth much less."""
    ap_irs_distance_m: Length = 30.0
    """Distance between AP and IRS [m]; fitted to Fig. 5."""
    reference_gain_db: Annotated[float, Field(ge=-200, le=0)] = -30.0
    """Gain at 1 m C_0 [dB]; paper, Sec. VI."""
    ap_irs_exponent: Exponent = 2.2
    """Path loss exponent between AP and IRS [-]; paper, Sec. VI."""
    irs_ud_exponent: Exponent = 2.8
    """Path loss exponent between IRS and devices [-]; paper, Sec. VI."""
    fading_correlation: Probability = 0.0
    """Correlation of the complex fading between consecutive frames; 1: static channels [-]; paper: 0."""
    uplink: Uplink = Uplink.RECIPROCAL
    """Uplink channel: the transpose of the downlink, G^H as printed, or an independent one; chosen: reciprocal."""
    irs: bool = True
    """True: links use the IRS. False: links use the blocked direct path."""
    direct_distance_m: Length = 30.0
    """Length of the direct path [m]; chosen."""
    direct_exponent: Exponent = 2.8
    """Path loss exponent of the direct path [-]; chosen."""
    direct_blockage_db: NonNegative = 35.3
    """Blockage loss of the direct path [dB]; fitted to Fig. 5."""
    offline: bool = False
    """With model="printed": True if devices exchange nothing with the AP (Full Local)."""
    bandwidth_hz: Bandwidth = 2e6
    """Bandwidth B [Hz]; fitted to Fig. 5."""
    bandwidth_sharing: Sharing = Sharing.EACH
    """"each": every device has B. "shared": devices share B equally; chosen: the paper's formula, not its text."""
    noise_w: Positive = 1e-11
    """Noise power sigma^2, independent of the bandwidth [W]; paper, Sec. VI."""
    power_total_w: Positive = 0.3
    """Budget of the downlink powers P_total [W]; chosen: 30 mW per device, like 3 W for 100 devices in Sec. VI."""
    power_max_w: Positive = 0.3
    """Largest downlink power of a device P_max [W]; chosen."""
    power_uplink_w: Positive = 0.1
    """Transmit power of a device P_UL [W]; chosen."""
    power: Power = Power.OPTIMAL
    """Downlink powers: optimal, (61), or equal for all devices."""
    twin_budget_flop_s: Positive = 5e12
    """With model="printed": budget of the twin boosts Delta f_max [FLOP/s]; fitted to Fig. 5."""
    pool_per_device_flop_s: Positive = 2e10
    """With model="extended": AP speed per device, shared by back ends and twins [FLOP/s]; chosen."""
    pool_levels: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=16)] = (0.4, 1.0, 1.6)
    """Factors on the AP speed, the states of a Markov chain; one factor: constant speed [-]; chosen."""
    pool_stay_probability: Probability = 0.7
    """Probability per frame that the AP keeps its level of `pool_levels` [-]; chosen."""
    backlog: bool = False
    """True: the AP first finishes the work left from earlier frames, which delays its new work (back ends and twins);
    chosen: False."""
    frame_s: Positive = 1.0
    """Duration of a frame, for mobility and the backlog [s]; chosen."""
    twins: Twins = Twins.OPTIMAL
    """Devices that compute on a twin: "optimal", the best choice; "threshold", rule (29); "none"; chosen: optimal."""
    compute_delay_total_s: Positive = 6.0
    """Largest total computing delay of the devices in an exchange, T_max of (26), (29); T_max / K for each [s]; fitted
    to Fig. 3."""
    rate_min_bit_s: NonNegative = 5e3
    """Minimum uplink rate R_min [bit/s]; paper, Sec. VI. Violations are reported; no algorithm enforces it."""
    phase: Phase = Phase.SDR
    """IRS phases: semidefinite relaxation, coordinate ascent from random phases, or random phases."""
    phase_samples: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Number of random vectors drawn from the relaxed solution [-]; chosen."""
    phase_polish: bool = True
    """True: use coordinate ascent after the randomisation, in addition to Algorithm 4; chosen: True."""
    phase_gap: Annotated[float, Field(ge=1e-9, le=1e-2)] = 1e-6
    """Duality gap to which the relaxation is solved [-]; chosen."""
    phase_passes: Annotated[int, Field(ge=0, le=20)] = 0
    """Further solutions of the phases for gains weighted by the saved delay, kept if they reduce it [-]; chosen: 0."""
    observation: Observation = Observation.COMPACT
    """"compact": gains, speed, mean work and last cut of a device. "full": also forecasts, load, motion, the works at
    all cuts and the last cut as one-hot vector; chosen: compact."""
    forecast_frames: Annotated[tuple[Annotated[int, Field(ge=1, le=1000)], ...], Field(max_length=64)] = ()
    """With mobility="circuit" and observation="full": frames ahead for which the digital twin forecasts the gain of a
    device, at its nominal speed [frames]; chosen: none."""
    view: View = View.TEAM
    """"team": a member sees all devices. "own": it sees itself and what all devices share; chosen: team."""
    leakage_s: NonNegative = 0.0
    """Penalty per device for the information that its features reveal: leakage_s exp(-(m - 1) / leakage_layers) at cut
    m. The raw input counts as m = 1; the last cut sends nothing and has no penalty [s]; chosen: 0."""
    leakage_layers: Positive = 3.0
    """Layers over which the leakage penalty falls by a factor e [layers]; chosen."""
    weight_loss_s: NonNegative = 1.0
    """Weight lambda of the training loss in (18) [s/nat]; chosen: arbitrary, as the loss does not depend on cuts."""
    loss_nats: NonNegative = 1e-3
    """Training loss of (17) [nat]; the order of Fig. 7."""
    device_energy_coefficient: NonNegative = 1e-28
    """kappa of a device's computing energy kappa f^2 C [W s^3]; paper, Sec. VI; no equation of the paper uses it."""
    flop_per_cycle: Positive = 1.0
    """FLOP per processor cycle, for the computing energy [FLOP/cycle]; chosen."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "paper": {
            "num_devices": 100, "model": "printed", "cuts": "all", "devices": "frame", "device_share_min": 1.0,
            "twins": "threshold", "power_total_w": 3.0, "phase_polish": False,
        },
        "dense": {"num_devices": 100, "power_total_w": 3.0},
        "planning": PLANNING,
        "planning-blind": {**PLANNING, "forecast_frames": ()},
    }  # fmt: skip
    renamed: ClassVar[Mapping[str, str]] = {
        "energy_coefficient": "device_energy_coefficient", "loss_weight_s": "weight_loss_s", "value_bits": "word_bits",
    }  # fmt: skip

    @field_validator("network")
    @classmethod
    def _check_network(cls, network: str) -> str:
        parse_network(network)
        return network

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        for low, high, unit in (
            ("layer_flop_min", "layer_flop_max", "FLOP"),
            ("speed_min_flop_s", "speed_max_flop_s", "FLOP/s"),
            ("distance_min_m", "distance_max_m", "m"),
            ("period_min_frames", "period_max_frames", "frames"),
            ("shadow_share_min", "shadow_share_max", "-"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(
                    f"{low}={getattr(self, low):g} is above {high}={getattr(self, high):g} [{unit}]; swap them"
                )
        if self.model == Model.PRINTED:
            if self.cuts == CutSet.USEFUL:
                raise ValueError("cuts='useful' leaves only the first cut of model='printed'; use cuts='all'")
            for name, off in (("first_cut", 1), ("backlog", False), ("leakage_s", 0.0)):
                if getattr(self, name) != off:
                    raise ValueError(f"{name}={getattr(self, name)!r} needs model='extended'; use {name}={off!r}")
        elif self.offline:
            raise ValueError("offline=True needs model='printed'; otherwise the last cut exchanges nothing already")
        if self.phase_passes and not self.irs:
            raise ValueError(f"phase_passes={self.phase_passes} has no IRS to set with irs=False; use phase_passes=0")
        if self.phase_passes and self.phase == Phase.RANDOM:
            raise ValueError(f"phase_passes={self.phase_passes} needs phase='sdr' or 'ca'; use phase_passes=0")
        if len(self.cut_numbers) < 2:
            raise ValueError(f"network={self.network!r} offers only one cut; choose a network with more layers")
        self._check_planning()
        return self

    def _check_planning(self) -> None:
        """Raise ValueError if migration, circuits, forecasts and the rest do not go together."""
        if self.migration and self.model != Model.EXTENDED:
            raise ValueError("migration=True needs model='extended'; the printed model has no weights to move")
        if self.migration and self.twins != Twins.NONE:
            raise ValueError(
                f"migration=True needs twins='none', as a twin has its device's weights, not {self.twins!r}"
            )
        if self.initial_cut is not None and self.initial_cut not in self.cut_numbers:
            known = ", ".join(map(str, self.cut_numbers))
            raise ValueError(f"initial_cut={self.initial_cut} is not a cut to choose from; known: {known}")
        if self.mobility == Mobility.CIRCUIT and self.devices == Devices.FRAME:
            raise ValueError("mobility='circuit' needs devices that last: use devices='episode' or 'fixed'")
        if self.forecast_frames and (self.mobility != Mobility.CIRCUIT or self.observation != Observation.FULL):
            raise ValueError("forecast_frames needs mobility='circuit' and observation='full'; use forecast_frames=()")

    @cached_property
    def network_cuts(self) -> Cuts:
        """Cuts of the network, from the raw input to the last layer."""
        return parse_network(self.network).cuts(word_bits=self.word_bits, useful=False)

    @cached_property
    def cut_numbers(self) -> NDArray[np.int64]:
        """Layers on the device, by index of an action, shape (L,)."""
        bits = self.network_cuts.bits
        numbers = np.arange(1, len(bits))
        if self.cuts == CutSet.USEFUL:
            numbers = np.array([m for m in numbers if bits[m] < bits[1:m].min(initial=np.inf)])
        return np.concatenate([[0], numbers]) if self.first_cut == 0 else numbers

    @property
    def initial_choice(self) -> int:
        """Index of the cut before the first frame."""
        if self.initial_cut is None:
            return len(self.cut_numbers) // 2
        return int(np.flatnonzero(self.cut_numbers == self.initial_cut)[0])

    @property
    def device_bandwidth_hz(self) -> float:
        """Bandwidth of one device [Hz]."""
        return self.bandwidth_hz / self.num_devices if self.bandwidth_sharing == Sharing.SHARED else self.bandwidth_hz

    @property
    def num_layers(self) -> int:
        """Number of layers M of the network."""
        return len(self.network_cuts.names) - 1
