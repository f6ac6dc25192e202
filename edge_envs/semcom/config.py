"""Parameters of the image semantic communication system, their units, sources and presets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from edge_envs.core.config import Bandwidth, EnergyCoefficient, Length, NonNegative, Positive, SystemConfig
from edge_envs.semcom.image_quality import PSNR_LAWS, PsnrLaw

Share = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0)]
Decibel = Annotated[float, Field(ge=-300, le=300)]
Offset = Annotated[float, Field(ge=-1e30, le=1e30)]


class Geometry(StrEnum):
    """Times at which positions, shadowing and cycles are drawn: once, or at every reset."""

    FIXED = "fixed"
    RANDOM = "random"


class SnrUnit(StrEnum):
    """Unit of the SNR in the law of image quality."""

    DB = "db"
    LINEAR = "linear"


class PsnrMode(StrEnum):
    """Role of image quality: requirement on the mean, by virtual queues; in each round; or part of the reward."""

    LONG_TERM = "long_term"
    HARD = "hard"
    UTILITY = "utility"


class Decision(StrEnum):
    """Variables that the agent controls: compression rates; powers and bandwidths; all five variables."""

    COMPRESSION = "compression"
    POWER_BANDWIDTH = "power_bandwidth"
    JOINT = "joint"


class Solver(StrEnum):
    """Solver at given compression rates: the optimum of P1, the paper's Algorithm 3, or P3 at equal shares."""

    JOINT = "joint"
    ALG3 = "alg3"
    P3_ONLY = "p3_only"


class SemComConfig(SystemConfig):
    """Configuration of `SemCom-v0`; defaults follow Table II of the paper where it gives a value."""

    num_devices: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Number of devices N [devices]; chosen: a fifth of Table II, at the same bandwidth per device."""
    bandwidth_hz: Bandwidth = 4e6
    """Uplink bandwidth shared by the devices, B_total [Hz]; chosen: Table II's 20 MHz for 50 devices, scaled."""
    radius_m: Positive = 250.0
    """Radius of the cell; devices are distributed uniformly over its area [m]; paper, Sec. VII-A: diameter 500 m."""
    distance_min_m: Length = 10.0
    """Smallest distance to the base station [m]; chosen: the paper does not give it."""
    loss_at_1_km_db: Annotated[float, Field(ge=-300, le=300)] = 128.1
    """Path loss at one kilometre [dB]; paper, Table II."""
    loss_per_decade_db: Annotated[float, Field(ge=0, le=300)] = 37.6
    """Path loss per decade of distance [dB per decade]; paper, Table II."""
    shadowing_db: Annotated[float, Field(ge=0, le=50)] = 8.0
    """Standard deviation of the log-normal shadowing [dB]; paper, Table II."""
    extra_gain_db: Annotated[float, Field(ge=-40, le=100)] = -25.0
    """Additional gain of every link [dB]; chosen: with -25, the power limit is active in fades; with 0 (Table II),
    constant rates are nearly optimal."""
    geometry: Geometry = Geometry.FIXED
    """Positions, shadowing and cycles per image: "fixed", drawn with `geometry_seed`, or "random" at every reset;
    chosen."""
    geometry_seed: Seed = 1
    """Seed of the fixed geometry [-]; chosen: arbitrary."""
    fading: bool = True
    """True: Rayleigh fading from round to round; chosen: True; the paper's channel is static."""
    fading_correlation: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Correlation of the complex fading between rounds [-]; chosen."""
    fade_floor: Annotated[float, Field(ge=1e-6, le=1)] = 0.01
    """Smallest power gain of the fading, which bounds the duration of a round [-]; chosen: -20 dB."""
    noise_dbm_per_hz: Annotated[float, Field(ge=-300, le=0)] = -174.0
    """Noise power spectral density N_0 [dBm/Hz]; paper, Table II."""
    power_max_dbm: Annotated[float, Field(ge=-20, le=60)] = 20.0
    """Largest transmit power of a device p^max [dBm]; paper, Table II."""
    device_frequency_max_hz: Positive = 1e9
    """Largest processor speed of a device f^max [cycles/s]; paper, Table II."""
    server_frequency_max_hz: Positive = 5e9
    """Largest processor speed of the base station for one device h^max [cycles/s]; paper, Table II."""
    device_energy_coefficient: EnergyCoefficient = 1e-28
    """Energy coefficient kappa of a device, eq. (10) [J s^2/cycle^3]; paper, Table II."""
    server_energy_coefficient: EnergyCoefficient = 1e-28
    """Energy coefficient kappa of the base station, eq. (13) [J s^2/cycle^3]; paper, Table II: the same."""
    samples: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    """Images in a round's batch D_n [images]; paper, Table II."""
    bits_per_sample: Positive = 1e6
    """Size of an image before compression d_n [bit]; paper, Table II."""
    device_cycles: tuple[Positive, Positive] = (1e6, 3e6)
    """Range of a device's cycles per image c_1n, drawn uniformly [cycles/image]; paper, Table II."""
    server_cycles: tuple[Positive, Positive] = (3e6, 5e6)
    """Range of the base station's cycles per image c_2n, drawn uniformly [cycles/image]; paper, Table II."""
    compression_min: Share = 0.1
    """Smallest compression rate rho^min, the ratio of the size sent to the original size [-]; paper, Table II."""
    compression_max: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Largest compression rate rho^max [-]; paper, Table II."""
    weight_time: Share = 0.5
    """Weight omega_1 of the duration of a round; the weight of energy is 1 - omega_1 [1/s]; paper, Sec. VII."""
    psnr_law: (
        Literal["printed", "offset", "stretch", "unscaled"] | tuple[Positive, Positive, Offset, Positive, Positive]
    ) = "unscaled"
    """Law (57) of image quality: a name, or (a [dB], l, b, c_rho, c_s); chosen: with (58) as printed, no requirement is
    ever active; with l = 1, the law agrees with the paper's two measured values."""
    snr_unit: SnrUnit = SnrUnit.DB
    """Unit of the SNR in the law of image quality; chosen: dB, which fits the codec better."""
    snr_clip_db: tuple[Decibel, Decibel] | None = None
    """Range to which the law of image quality clips the SNR [dB]; chosen: None, no clipping."""
    psnr_mode: PsnrMode = PsnrMode.LONG_TERM
    """Role of image quality: "long_term", a requirement on the mean over rounds, by virtual queues; "hard", a
    requirement in each round, as in the paper; "utility", a part of the reward; chosen: long_term."""
    psnr_target_fraction: Annotated[float, Field(ge=0, le=1)] | None = 0.5
    """With psnr_mode="long_term": a device's requirement, as a fraction of the range between its mean PSNR at the
    smallest and at the largest compression rate with the joint solver [-]; chosen: always attainable. With None all
    devices have the requirement `psnr_min_db`."""
    psnr_min_db: Annotated[float, Field(ge=0, le=100)] = 25.0
    """Common requirement P^min [dB]; paper, Table II. With psnr_mode="long_term", the requirement of a device that
    cannot reach it is 0.1 dB below its mean PSNR at the largest compression rate."""
    queue_weight: Positive = 100.0
    """With psnr_mode="long_term": weight V of the cost relative to the drift of the virtual queues [dB^2]; chosen."""
    initial_queue_max_db: NonNegative = 0.0
    """Upper limit of the initial virtual queues, which are uniform from 0 on [dB]; chosen: 0, and 10 in training."""
    shortfall_penalty: NonNegative = 10.0
    """With psnr_mode="hard": penalty for the mean relative shortfall of PSNR [-]; chosen."""
    psnr_weight_per_db: NonNegative = 1.5
    """With psnr_mode="utility": reward per dB of the mean PSNR above `psnr_min_db` [1/dB]; chosen: about the marginal
    cost."""
    deadline_s: Annotated[float, Field(gt=0, le=1e9)] = 120.0
    """Deadline of a round; devices that finish later are counted [s]; chosen. With psnr_mode="hard", the required SNR
    of a device that cannot meet the deadline is lowered, and the solver meets the deadline if possible."""
    decision: Decision = Decision.COMPRESSION
    """Variables that the agent controls: "compression" rates, "power_bandwidth", or "joint" for all five; chosen."""
    solver: Solver = Solver.JOINT
    """Solver of the other variables with decision="compression": "joint", the optimum of P1; "alg3", the paper's
    Algorithm 3 from equal shares; "p3_only", P3 at equal shares (p = pmax / 2, B = B_total / N); chosen: joint."""
    observe_price: bool = True
    """True: the observation contains each device's marginal cost of its compression rate, from another solve;
    chosen."""
    observe_geometry: bool | None = None
    """True: the observation contains each device's mean gain and cycles. None: only if the geometry is random or there
    is no fading; chosen."""
    calibration_rounds: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Rounds with independent fading from which the requirements and the cost scale are computed [rounds]; chosen."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "mild": {"extra_gain_db": -15.0},
        "table2": {"extra_gain_db": 0.0},
        "random": {"geometry": "random", "calibration_rounds": 200},
        "paper": {
            "num_devices": 50, "bandwidth_hz": 20e6, "extra_gain_db": 0.0, "geometry": "random", "fading": False,
            "psnr_mode": "hard",
        },
    }  # fmt: skip

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.check_order(("distance_min_m", "radius_m", "m"), ("compression_min", "compression_max", ""))
        self.limit_array(self.num_devices * self.calibration_rounds, 8, "num_devices", "calibration_rounds")
        for name in ("device_cycles", "server_cycles", "snr_clip_db"):
            limits = getattr(self, name)
            if limits is not None and limits[0] > limits[1]:
                raise ValueError(f"{name}={limits} has its limits in the wrong order; swap them")
        if self.decision == Decision.POWER_BANDWIDTH and self.solver == Solver.ALG3:
            raise ValueError("solver='alg3' sets powers and bandwidths, which decision='power_bandwidth' sets too")
        if self.decision == Decision.JOINT and self.solver != Solver.JOINT:
            raise ValueError(f"solver={self.solver!r} solves nothing with decision='joint'; leave it out")
        if not (self.fading or self.psnr_mode == PsnrMode.LONG_TERM or self.observe_price or self.shows_geometry):
            raise ValueError("observe_geometry=False leaves nothing to observe without fading; leave it out")
        if self.law.stretch * self.law.by_compression * self.compression_min + self.law.offset <= 0.0:
            raise ValueError(f"psnr_law={self.psnr_law!r} has no logarithm at 0 dB SNR; raise its third number")
        return self

    @cached_property
    def law(self) -> PsnrLaw:
        """The law of image quality that kernels read."""
        named = PSNR_LAWS[self.psnr_law] if isinstance(self.psnr_law, str) else self.psnr_law
        low, high = self.snr_clip_db or (-math.inf, math.inf)
        return PsnrLaw(*named, decibel=self.snr_unit == SnrUnit.DB, snr_low_db=low, snr_high_db=high)

    @property
    def shows_geometry(self) -> bool:
        """True if the observation contains each device's mean gain and cycles."""
        if self.observe_geometry is None:
            return self.geometry == Geometry.RANDOM or not self.fading
        return self.observe_geometry
