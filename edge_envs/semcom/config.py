"""Parameters of the image semantic communication system, their units, sources and presets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_envs.core.config import Bandwidth, EnergyCoefficient, Length, NonNegative, Positive, SystemConfig
from edge_envs.core.physics.units import db_to_linear, dbm_to_watt, noise_density
from edge_envs.semcom.image_quality import PsnrLaw

Share = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0)]
Decibel = Annotated[float, Field(ge=-300, le=300)]
Offset = Annotated[float, Field(ge=-1e30, le=1e30)]

COMPRESSION, POWER_BANDWIDTH = range(2)
"""`Parameters.decision`: what the agent sets; everything with any other value."""
JOINT, ALTERNATING = range(2)
"""`Parameters.solver`: what is solved around compression rates; P3 alone with any other value."""
LONG_TERM, HARD, UTILITY = range(3)
"""`Parameters.psnr_mode`: how image quality counts."""

PSNR_LAWS: Mapping[str, tuple[float, float, float, float, float]] = {
    "printed": (18.67, 3.35, 5.11, 1.52, 0.03),
    "offset": (18.67, 3.35, 3.050, 1.52, 0.03),
    "stretch": (18.67, 0.882, 3.721, 1.52, 0.03),
    "unscaled": (18.67, 1.0, 3.689, 1.52, 0.03),
}
"""(a, l, b, c_rho, c_s) of eq. (57) by name. As printed, (58) gives 33.5 dB where the paper's text and figures
have 25.7; the others refit the offset, stretch and offset, or the offset with a stretch of one to those values."""


class Parameters(NamedTuple):
    """The configuration as the kernels read it, in SI units. Arrays of shape (N,) hold one entry per device."""

    num_devices: int
    bandwidth_hz: float
    noise_w_per_hz: float
    power_max_w: float
    device_frequency_max_hz: float
    server_frequency_max_hz: float
    device_energy_coefficient: float
    server_energy_coefficient: float
    weight_time: float
    weight_energy: float
    raw_bits: float  # d D, what one device would send uncompressed
    samples: float  # D
    compression_min: float
    compression_max: float
    law: PsnrLaw
    psnr_min_db: float
    target_fraction: float  # of the range between rho_min and rho_max, negative for the common requirement
    decision: int
    solver: int
    psnr_mode: int
    deadline_s: float
    queue_weight: float  # V
    initial_queue_max_db: float
    shortfall_penalty: float
    psnr_weight_per_db: float
    reset_geometry: bool  # draw a geometry at every reset
    geometry: NDArray[np.float64]  # (3, N) mean gain, cycles c1 and c2 per sample of the fixed geometry
    radius_m: float
    distance_min_m: float
    loss_at_1_km_db: float
    loss_per_decade_db: float
    shadowing_db: float
    extra_gain: float
    device_cycles_min: float
    device_cycles_max: float
    server_cycles_min: float
    server_cycles_max: float
    fading: bool
    fading_correlation: float
    fade_floor: float
    observe_price: bool
    observe_geometry: bool
    calibration_fades: NDArray[np.float64]  # (rounds, N) power gains of the fading in the calibration rounds


class SemComConfig(SystemConfig):
    """Configuration of `SemCom-v0`; defaults follow Table II of the paper where it gives a value."""

    num_devices: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Number of devices N [devices]; chosen: a fifth of Table II, at the same bandwidth per device."""
    bandwidth_hz: Bandwidth = 4e6
    """Uplink bandwidth shared by the devices, B_total [Hz]; chosen: Table II's 20 MHz for 50 devices, scaled."""
    radius_m: Positive = 250.0
    """Radius of the cell, over whose area devices are spread evenly [m]; paper, Sec. VII-A: 500 m across."""
    distance_min_m: Length = 10.0
    """Smallest distance to the base station [m]; chosen: the paper names none."""
    loss_at_1_km_db: Annotated[float, Field(ge=-300, le=300)] = 128.1
    """Path loss at one kilometre [dB]; paper, Table II."""
    loss_per_decade_db: Annotated[float, Field(ge=0, le=300)] = 37.6
    """Growth of the path loss with distance [dB per decade]; paper, Table II."""
    shadowing_db: Annotated[float, Field(ge=0, le=50)] = 8.0
    """Standard deviation of the log-normal shadowing [dB]; paper, Table II."""
    extra_gain_db: Annotated[float, Field(ge=-40, le=100)] = -25.0
    """Further gain of every link [dB]; chosen: with -25 the power limit binds in fades, with 0 (Table II) all
    is nearly static."""
    geometry: Literal["fixed", "random"] = "fixed"
    """Positions, shadowing and cycles per sample: those of `geometry_seed`, or drawn anew at every reset; chosen."""
    geometry_seed: Seed = 1
    """Seed of the fixed geometry [-]; chosen: any other is as good."""
    fading: bool = True
    """Rayleigh fading from round to round; chosen: the paper's channel is static."""
    fading_correlation: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Correlation of the complex fading between rounds [-]; chosen."""
    fade_floor: Annotated[float, Field(ge=1e-6, le=1)] = 0.01
    """Smallest power gain of the fading, which bounds the time of a round [-]; chosen: -20 dB."""
    noise_dbm_per_hz: Annotated[float, Field(ge=-300, le=0)] = -174.0
    """Noise power spectral density N_0 [dBm/Hz]; paper, Table II."""
    power_max_dbm: Annotated[float, Field(ge=-20, le=60)] = 20.0
    """Largest transmit power of a device p^max [dBm]; paper, Table II."""
    device_frequency_max_hz: Positive = 1e9
    """Largest processor speed of a device f^max [cycles/s]; paper, Table II."""
    server_frequency_max_hz: Positive = 5e9
    """Largest processor speed the base station gives one device h^max [cycles/s]; paper, Table II."""
    device_energy_coefficient: EnergyCoefficient = 1e-28
    """Energy coefficient kappa of a device, eq. (10) [J s^2/cycle^3]; paper, Table II."""
    server_energy_coefficient: EnergyCoefficient = 1e-28
    """Energy coefficient kappa of the base station, eq. (13) [J s^2/cycle^3]; paper, Table II: the same."""
    samples: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    """Images in a round's batch D_n [images]; paper, Table II."""
    bits_per_sample: Positive = 1e6
    """Size of an image before compression d_n [bit]; paper, Table II."""
    device_cycles: tuple[Positive, Positive] = (1e6, 3e6)
    """Range of a device's cycles per image c_1n, drawn evenly [cycles/image]; paper, Table II."""
    server_cycles: tuple[Positive, Positive] = (3e6, 5e6)
    """Range of the base station's cycles per image c_2n, drawn evenly [cycles/image]; paper, Table II."""
    compression_min: Share = 0.1
    """Smallest compression rate rho^min, size sent over size [-]; paper, Table II."""
    compression_max: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Largest compression rate rho^max [-]; paper, Table II."""
    weight_time: Share = 0.5
    """Weight omega_1 of the time of a round; that of energy is 1 - omega_1 [1/s]; paper, Sec. VII."""
    psnr_law: (
        Literal["printed", "offset", "stretch", "unscaled"] | tuple[Positive, Positive, Offset, Positive, Positive]
    ) = "unscaled"
    """Law (57) of image quality: a name, or (a [dB], l, b, c_rho, c_s); chosen: (58) as printed makes every requirement
    void, and with a stretch of one it meets the paper's two measured values."""
    snr_unit: Literal["db", "linear"] = "db"
    """Unit of the SNR in the law of image quality; chosen: dB, which fits the codec better."""
    snr_clip_db: tuple[Decibel, Decibel] | None = None
    """Range beyond which the SNR makes no difference to image quality [dB]; chosen: none."""
    psnr_mode: Literal["long_term", "hard", "utility"] = "long_term"
    """How image quality counts: on average over rounds by virtual queues, in each round (the paper), or as a reward."""
    psnr_target_fraction: Annotated[float, Field(ge=0, le=1)] | None = 0.5
    """With psnr_mode="long_term": a device's requirement between its mean PSNR at the smallest and at the largest
    compression rate, with the joint solver [-]; chosen: always attainable. None for the common `psnr_min_db`."""
    psnr_min_db: Annotated[float, Field(ge=0, le=100)] = 25.0
    """Common requirement P^min [dB]; paper, Table II. With psnr_mode="long_term" a device that cannot reach it gets
    0.1 dB less than what it reaches at the largest compression rate."""
    queue_weight: Positive = 100.0
    """With psnr_mode="long_term": weight V of the cost against the virtual queues' drift [dB^2]; chosen."""
    initial_queue_max_db: NonNegative = 0.0
    """Virtual queues start evenly spread from zero to this [dB]; chosen: 0, and 10 in training."""
    shortfall_penalty: NonNegative = 10.0
    """With psnr_mode="hard": penalty for the mean relative shortfall of PSNR [-]; chosen."""
    psnr_weight_per_db: NonNegative = 1.5
    """With psnr_mode="utility": reward of the mean PSNR above `psnr_min_db` [1/dB]; chosen: about what it costs."""
    deadline_s: Annotated[float, Field(gt=0, le=1e9)] = 120.0
    """A longer round counts as missed. With psnr_mode="hard" the SNR required of a device that cannot make it is
    relaxed, and the solver keeps the deadline if it can [s]; chosen."""
    decision: Literal["compression", "power_bandwidth", "joint"] = "compression"
    """What the agent sets: compression rates, powers and bandwidths, or all five variables; chosen."""
    solver: Literal["joint", "alg3", "p3_only"] = "joint"
    """With decision="compression", who sets the rest: the joint optimum, the paper's Algorithm 3 from even shares, or
    P3 at even shares (p = pmax / 2, B = B_total / N); chosen: joint."""
    observe_price: bool = True
    """Also show each device what a unit of its compression rate would cost, from one more solve; chosen."""
    observe_geometry: bool | None = None
    """Also show each device its mean gain and cycles; None: if the geometry is random or nothing fades; chosen."""
    calibration_rounds: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Rounds with independent fading by which a geometry's requirements and cost scale are set [rounds]; chosen."""

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
        if self.distance_min_m > self.radius_m:
            raise ValueError(f"distance_min_m={self.distance_min_m} is above radius_m={self.radius_m} [m]; swap them")
        if self.compression_min > self.compression_max:
            raise ValueError(
                f"compression_min={self.compression_min} is above compression_max={self.compression_max}; swap them"
            )
        self.limit_array(self.num_devices * self.calibration_rounds, 8, "num_devices", "calibration_rounds")
        for name in ("device_cycles", "server_cycles", "snr_clip_db"):
            limits = getattr(self, name)
            if limits is not None and limits[0] > limits[1]:
                raise ValueError(f"{name}={limits} has its limits in the wrong order; swap them")
        if self.decision == "power_bandwidth" and self.solver == "alg3":
            raise ValueError("solver='alg3' sets powers and bandwidths, which decision='power_bandwidth' sets too")
        if self.decision == "joint" and self.solver != "joint":
            raise ValueError(f"solver={self.solver!r} solves nothing with decision='joint'; leave it out")
        if not (self.fading or self.psnr_mode == "long_term" or self.observe_price or self.shows_geometry):
            raise ValueError("observe_geometry=False leaves nothing to observe without fading; leave it out")
        if self.law.stretch * self.law.by_compression * self.compression_min + self.law.offset <= 0.0:
            raise ValueError(f"psnr_law={self.psnr_law!r} has no logarithm at 0 dB SNR; raise its third number")
        return self

    @cached_property
    def law(self) -> PsnrLaw:
        """The law of image quality as the kernels read it."""
        named = PSNR_LAWS[self.psnr_law] if isinstance(self.psnr_law, str) else self.psnr_law
        low, high = self.snr_clip_db or (-math.inf, math.inf)
        return PsnrLaw(*named, decibel=self.snr_unit == "db", snr_low_db=low, snr_high_db=high)

    @property
    def shows_geometry(self) -> bool:
        """Whether the observation holds each device's mean gain and cycles."""
        if self.observe_geometry is None:
            return self.geometry == "random" or not self.fading
        return self.observe_geometry

    def kernel(self) -> Parameters:
        """The configuration as the kernels read it; the fixed geometry and the calibration's fading have seeds of
        their own."""
        from edge_envs.semcom.model.geometry import calibration_fades, draw_geometry

        partial = Parameters(
            num_devices=self.num_devices,
            bandwidth_hz=self.bandwidth_hz,
            noise_w_per_hz=float(noise_density(self.noise_dbm_per_hz)),
            power_max_w=float(dbm_to_watt(self.power_max_dbm)),
            device_frequency_max_hz=self.device_frequency_max_hz,
            server_frequency_max_hz=self.server_frequency_max_hz,
            device_energy_coefficient=self.device_energy_coefficient,
            server_energy_coefficient=self.server_energy_coefficient,
            weight_time=self.weight_time,
            weight_energy=1.0 - self.weight_time,
            raw_bits=self.bits_per_sample * self.samples,
            samples=float(self.samples),
            compression_min=self.compression_min,
            compression_max=self.compression_max,
            law=self.law,
            psnr_min_db=self.psnr_min_db,
            target_fraction=-1.0 if self.psnr_target_fraction is None else self.psnr_target_fraction,
            decision=("compression", "power_bandwidth", "joint").index(self.decision),
            solver=("joint", "alg3", "p3_only").index(self.solver),
            psnr_mode=("long_term", "hard", "utility").index(self.psnr_mode),
            deadline_s=self.deadline_s,
            queue_weight=self.queue_weight,
            initial_queue_max_db=self.initial_queue_max_db,
            shortfall_penalty=self.shortfall_penalty,
            psnr_weight_per_db=self.psnr_weight_per_db,
            reset_geometry=self.geometry == "random",
            geometry=np.zeros((3, self.num_devices)),
            radius_m=self.radius_m,
            distance_min_m=self.distance_min_m,
            loss_at_1_km_db=self.loss_at_1_km_db,
            loss_per_decade_db=self.loss_per_decade_db,
            shadowing_db=self.shadowing_db,
            extra_gain=float(db_to_linear(self.extra_gain_db)),
            device_cycles_min=self.device_cycles[0],
            device_cycles_max=self.device_cycles[1],
            server_cycles_min=self.server_cycles[0],
            server_cycles_max=self.server_cycles[1],
            fading=self.fading,
            fading_correlation=self.fading_correlation,
            fade_floor=self.fade_floor,
            observe_price=self.observe_price,
            observe_geometry=self.shows_geometry,
            calibration_fades=calibration_fades(self),
        )
        return partial._replace(geometry=draw_geometry(partial, self.geometry_seed))
