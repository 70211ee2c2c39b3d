"""Axes to draw on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easytx.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def axes_or_new(axes: Axes | None, *, width: float = 6.0, height: float = 4.0) -> Axes:
    """Return the given axes, or those of a new figure of this size in inches.

    The new figure belongs to no window: it shows in a notebook and saves with `axes.figure.savefig(path)`.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    if axes is not None:
        return axes
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError.of("matplotlib", "plots", "Drawing") from error
    return Figure(figsize=(width, height), layout="constrained").add_subplot()
