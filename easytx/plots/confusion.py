"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from easytx.core.results import EvalResult
from easytx.plots.figure import axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def confusion_matrix(result: EvalResult, *, labels: Sequence[Any] | None = None, axes: Axes | None = None) -> Axes:
    """Draw how many rows of each true class were predicted as each class.

    Args:
        result: What `ClassificationModel.eval_model` returned.
        labels: The classes to draw, in order; all by default.
        axes: Where to draw; a new figure by default.
    """
    from sklearn.metrics import ConfusionMatrixDisplay

    frame = result.to_frame()
    number = len(labels) if labels is not None else frame["labels"].nunique()
    axes = axes_or_new(axes, width=3.0 + 0.7 * number, height=2.5 + 0.6 * number)
    ConfusionMatrixDisplay.from_predictions(
        frame["labels"],
        frame["prediction"],
        labels=labels,
        cmap="Blues",
        colorbar=False,
        xticks_rotation=45 if number > 2 else "horizontal",
        ax=axes,
    )
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right" if number > 2 else "center")
    return axes
