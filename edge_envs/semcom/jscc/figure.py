"""Figure of a trained codec: PSNR curves, the fitted law, and a photograph. Needs matplotlib and Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edge_envs.core.io.figures import COLOURS, INK, STYLE, as_png, style_axes
from edge_envs.semcom.jscc.quality_law import Law, Points
from edge_envs.semcom.jscc.scores import Scores


def draw_codec(
    scores: Scores, fitted: tuple[Law, Points] | None, pictures: Sequence[tuple[str, NDArray[np.uint8]]]
) -> bytes:
    """Draw PSNR over SNR of all codes, the measured points over the law's x, and pictures side by side.

    Pictures are pairs of a title and an image (H, W, 3), all of one size. Returns the content of the PNG file.
    """
    figure = Figure(figsize=(10.0, 7.2), **STYLE)
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.4, 1.0))
    top, bottom = halves
    panels = top.subplots(1, 2 if fitted else 1, squeeze=False)[0]
    _draw_curves(panels[0], scores)
    if fitted:
        _draw_law(figure, panels[1], *fitted)
    for panel, (title, image) in zip(bottom.subplots(1, len(pictures), squeeze=False)[0], pictures, strict=True):
        panel.imshow(image)
        panel.set_title(title, fontsize=9, color=INK)
        panel.set_axis_off()
    return as_png(figure)


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
    style_axes(panel)


def _draw_law(figure: Figure, panel: Any, law: Law, points: Points) -> None:
    rho, snr_db, psnr_db = points
    x = law.position(rho, snr_db)
    dots = panel.scatter(x, psnr_db, c=rho, s=14, cmap="viridis", label="measured, CNN")
    line = np.linspace(x.min(), x.max(), 200)
    panel.plot(line, law.scale_db * np.log(line + law.offset), color=INK, linewidth=1.4, label="law (57)")
    unit = "dB" if law.snr_unit == "db" else "linear"
    panel.set_xlabel(f"x = {law.per_rho:.3g} rho + {law.per_snr:.3g} S   (S {unit})")
    panel.set_ylabel("PSNR [dB]")
    error = law.mae_db(*points)
    panel.set_title(f"{law.scale_db:.3g} ln(x + {law.offset:.3g}), mean error {error:.2f} dB", fontsize=10, color=INK)
    panel.legend(fontsize=8, frameon=False, loc="lower right")
    figure.colorbar(dots, ax=panel, label="compression rate rho")
    style_axes(panel)
