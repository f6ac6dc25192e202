"""Style of the figures that commands draw, and their PNG files. Needs matplotlib and Pillow."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

DOTS_PER_INCH = 110
INK, GRID = "#30343f", "#d9dce3"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure without a window; width and height in inches."""
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def style_axes(panel: Any) -> None:
    """Draw a grid behind the curves of these axes, and no lines on the right and at the top."""
    panel.grid(color=GRID, linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def as_png(figure: Figure) -> bytes:
    """Render as a PNG with a palette, which takes a third of the size of a full-colour one."""
    drawn, small = BytesIO(), BytesIO()
    figure.savefig(drawn, format="png")
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(256).save(small, format="PNG", optimize=True)
    return small.getvalue()
