"""How training went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easytx.core.results import TrainResult
from easytx.errors import ArgumentError
from easytx.plots.figure import axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def learning_curve(result: TrainResult, metric: str | None = None, *, axes: Axes | None = None) -> Axes:
    """Draw the losses over the steps, and one score on an axis of its own.

    Args:
        result: What `train_model` returned with `evaluate_during_training`.
        metric: The score to draw beside the losses; None, or one of the losses, for these alone.
        axes: Where to draw; a new figure by default.

    Raises:
        ArgumentError: If there were no evaluations while training, or none gave this score.
    """
    details = result.training_details
    if not isinstance(details, dict):
        raise ArgumentError("There is no curve to draw: train with evaluate_during_training=True and eval_df=...")
    if metric is not None and metric not in details:
        raise ArgumentError(f"There is no score '{metric}'; there are {sorted(details)}.")
    axes = axes_or_new(axes)
    steps = details["global_step"]
    axes.plot(steps, details["train_loss"], marker="o", label="train_loss", color="tab:gray")
    if "eval_loss" in details:
        axes.plot(steps, details["eval_loss"], marker="o", label="eval_loss", color="tab:red")
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel("loss")
    axes.set_ylim(bottom=0)
    lines = list(axes.get_lines())
    if metric not in (None, "train_loss", "eval_loss"):
        right = axes.twinx()
        lines += right.plot(steps, details[metric], marker="s", label=metric, color="tab:blue")
        right.set_ylabel(metric)
    best = result.info.get("best_step")
    if best is not None:
        lines.append(axes.axvline(best, linestyle=":", color="black", label="best model"))
    # Above, as the best place inside does not reckon with the lines of the axes on the right.
    axes.legend(handles=lines, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(lines), frameon=False)
    return axes
