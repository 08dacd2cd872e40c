"""What all pictures share: Okabe and Ito's colours, text drawn as it is, the axes to draw on, grid and legend."""

from typing import TYPE_CHECKING, Any, Final

from issue_analytics.reporting.text import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BLUE", "GREEN", "GREY", "ORANGE", "PLAIN", "PURPLE", "SKY", "STYLES", "VERMILLION", "YELLOW", "axes_or_current",
    "finish", "label_of",
]  # fmt: skip

BLUE, SKY, ORANGE, VERMILLION, GREEN, GREY = "#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#009E73", "#595959"
YELLOW, PURPLE = "#F0E442", "#CC79A7"

PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}
"""Arguments of every text that may come from an export."""

STYLES: Final = (
    (BLUE, "-", "o"),
    (VERMILLION, "--", "s"),
    (GREEN, "-.", "D"),
    (ORANGE, ":", "^"),
    (PURPLE, "-", "v"),
    (SKY, "--", "P"),
    (GREY, "-.", "X"),
    ("black", ":", "*"),
)
"""Colour, line and mark of each of several curves: three ways to tell them apart. More than eight tell nothing."""


def axes_or_current(ax: "Axes | None") -> "Axes":
    """Return the axes given, else the current ones of pyplot."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.gca()


def label_of(name: object, n: str) -> str:
    """What a legend says of a curve: its name, which may come from an export, and its n.

    >>> label_of("_hidden", "9 hours"), label_of(None, "9 hours")
    (' _hidden: 9 hours', '9 hours')
    """
    label = f"{clean(name, length=40)}: {n}" if name not in (None, "") else n
    # matplotlib leaves out what begins with an underscore
    return f" {label}" if label.startswith("_") else label


def finish(ax: "Axes", *, columns: int = 2) -> "Axes":
    """Draw the grid, and the legend above the axes, where it hides no data."""
    ax.tick_params(labelsize=8)
    ax.grid(visible=True, color="#DDDDDD", lw=0.5)
    ax.set_axisbelow(True)
    if ax.get_legend_handles_labels()[0]:
        legend = ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, fontsize=8, frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)
    return ax
