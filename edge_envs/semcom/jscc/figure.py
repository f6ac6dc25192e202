"""Figure of a trained codec: PSNR curves, the fitted law, and a photograph. Needs matplotlib and Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from edge_envs.semcom.jscc.quality_law import Law
from edge_envs.semcom.jscc.scores import Scores

__all__ = ["Measured", "draw_codec"]

SIZE_INCHES, DOTS_PER_INCH = (10.0, 7.2), 110
INK, GRID = "#30343f", "#d9dce3"
COLOURS = ("#0072b2", "#d55e00", "#009e73")


@dataclass(frozen=True, eq=False)
class Measured:
    """The measured points to which a law was fitted; arrays (points,)."""

    rho: NDArray[np.float64]
    snr_db: NDArray[np.float64]
    psnr_db: NDArray[np.float64]


def draw_codec(
    scores: Scores,
    law: Law | None,
    measured: Measured | None,
    pictures: Sequence[tuple[str, NDArray[np.uint8]]],
) -> bytes:
    """Draw PSNR over SNR of all codes, the measured points over the law's x, and pictures side by side.

    Args:
        scores: curves to draw, with one colour per compression rate.
        law: the fitted law, if any.
        measured: the points to which it was fitted.
        pictures: title and image (H, W, 3) of each, all of one size.

    Returns:
        Content of the PNG file.
    """
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.4, 1.0))
    top, bottom = halves
    fitted = law is not None and measured is not None
    panels = top.subplots(1, 2 if fitted else 1, squeeze=False)[0]
    _draw_curves(panels[0], scores)
    if law is not None and measured is not None:
        _draw_law(figure, panels[1], law, measured)
    for panel, (title, image) in zip(bottom.subplots(1, len(pictures), squeeze=False)[0], pictures, strict=True):
        panel.imshow(image)
        panel.set_title(title, fontsize=9, color=INK)
        panel.set_axis_off()
    return _as_png(figure)


def _draw_curves(panel: Any, scores: Scores) -> None:
    styles = (
        ("CNN", "-", scores.codec_db),
        ("linear code", "--", scores.linear_db),
        ("JPEG data", ":", scores.jpeg_data_db),
    )
    for i, rho in enumerate(scores.rho):
        colour = COLOURS[i % len(COLOURS)]
        for _, style, values in styles:
            panel.plot(scores.snr_db, values[i], style, color=colour, linewidth=1.6)
        panel.plot([], [], "-", color=colour, linewidth=4.0, label=f"rho {rho:.3f}")
    for name, style, _ in styles:
        panel.plot([], [], style, color=INK, linewidth=1.6, label=name)
    panel.axhline(scores.mean_colour_db, color=INK, linewidth=0.9, linestyle="-.")
    panel.annotate("mean colour", (scores.snr_db[0], scores.mean_colour_db + 0.2), fontsize=8, color=INK)
    panel.set_xticks(scores.snr_db)
    panel.set_xlabel("SNR [dB]")
    panel.set_ylabel("PSNR [dB]")
    panel.set_title("test images, mean over images", fontsize=10, color=INK)
    panel.legend(fontsize=8, frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 0.06))
    _finish(panel)


def _draw_law(figure: Figure, panel: Any, law: Law, measured: Measured) -> None:
    x = law.position(measured.rho, measured.snr_db)
    dots = panel.scatter(x, measured.psnr_db, c=measured.rho, s=14, cmap="viridis", label="measured, CNN")
    line = np.linspace(x.min(), x.max(), 200)
    panel.plot(line, law.scale_db * np.log(line + law.offset), color=INK, linewidth=1.4, label="law (57)")
    unit = "dB" if law.snr_unit == "db" else "linear"
    panel.set_xlabel(f"x = {law.per_rho:.3g} rho + {law.per_snr:.3g} S   (S {unit})")
    panel.set_ylabel("PSNR [dB]")
    error = law.mae_db(measured.rho, measured.snr_db, measured.psnr_db)
    panel.set_title(f"{law.scale_db:.3g} ln(x + {law.offset:.3g}), mean error {error:.2f} dB", fontsize=10, color=INK)
    panel.legend(fontsize=8, frameon=False, loc="lower right")
    figure.colorbar(dots, ax=panel, label="compression rate rho")
    _finish(panel)


def _finish(panel: Any) -> None:
    panel.grid(color=GRID, linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def _as_png(figure: Figure) -> bytes:
    """Render as a PNG with a palette, which takes a third of the size of a full-colour one."""
    drawn, small = BytesIO(), BytesIO()
    figure.savefig(drawn, format="png")
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(256).save(small, format="PNG", optimize=True)
    return small.getvalue()
