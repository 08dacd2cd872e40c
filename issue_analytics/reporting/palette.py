"""What all pictures share: Okabe and Ito's colours, text drawn as it is, and the axes to draw on."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BLUE", "GREEN", "GREY", "ORANGE", "PLAIN", "PURPLE", "SKY", "VERMILLION", "YELLOW", "axes_or_current",
]  # fmt: skip

BLUE, SKY, ORANGE, VERMILLION, GREEN, GREY = "#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#009E73", "#595959"
YELLOW, PURPLE = "#F0E442", "#CC79A7"

PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}
"""Arguments of every text that may come from an export."""


def axes_or_current(ax: "Axes | None") -> "Axes":
    """Return the axes given, else the current ones of pyplot."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.gca()
