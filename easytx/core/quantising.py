"""Int8 weights that are earned: allowed where the score on labelled rows stays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from easytx.config.fields import closest
from easytx.config.warn import warn_user
from easytx.core.calls import Metric, read_call
from easytx.core.results import QuantizeResult
from easytx.errors import ArgumentError, ScoreDropError, UnsupportedError
from easytx.metrics.direction import lower_is_better
from easytx.training.quantise import check_int8_device

if TYPE_CHECKING:
    from easytx.core.base_model import BaseModel
    from easytx.data.prepared import TaskData


@dataclass(frozen=True)
class Bound:
    """How much worse a score may become.

    Attributes:
        metric: Its name.
        minimize: Whether a lower one is better.
        share: Of the score.
    """

    metric: str
    minimize: bool
    share: float

    def drop(self, before: float, after: float) -> float:
        """Return how much worse the second score is, as a share of the first; below 0 if it is better."""
        worse = after - before if self.minimize else before - after
        if before == 0:
            return 0.0 if worse == 0 else math.copysign(math.inf, worse)
        return worse / abs(before)


def quantize(
    model: BaseModel,
    eval_data: Any,
    *,
    metric: str | None,
    bound: float | None,
    minimize: bool | None,
    kwargs: Mapping[str, Any],
) -> QuantizeResult:
    """Switch a model to int8 weights if its score on rows allows it; see `CheckpointedModel.quantize`."""
    if model.only_predicts:
        raise UnsupportedError(
            f"{type(model).__name__} has no scores to compare. For int8 weights without a check, set dynamic_quantize "
            "in args."
        )
    if not model.args.onnx:
        check_int8_device("quantize", model.device)
    call = read_call(
        "quantize",
        kwargs,
        data=eval_data,
        columns=model.columns.all(),
        options=(*model.data_options, *model.eval_options),
        remedy=model.data_remedy,
    )
    args = model.args.merged({} if bound is None else {"quantize_bound": bound})
    limit = _bound(args, call.metrics, metric=metric, minimize=minimize)
    data = model.prepared(call.data, name="eval_df", split="eval", renames=call.renames, options=call.options)
    result = _switched(model, data, call.metrics, limit)
    model.args = model.args.merged({"quantize": True, "quantize_bound": limit.share})
    model.results = result.after
    return result


def before_training(model: BaseModel, *, evaluates: bool) -> None:
    """Switch off what other weights have earned, and warn where nothing will earn it again.

    Raises:
        DeviceError: If `args.quantize` is set for a model that is not on a CPU.
    """
    if not model.args.quantize:
        return
    check_int8_device("quantize", model.device)
    model.args = model.args.merged({"dynamic_quantize": False})
    if not evaluates:
        warn_user(
            "quantize is set, but this training does not evaluate, so the model will not predict with int8 weights. "
            "Give eval_df=... and set evaluate_during_training, or call quantize(eval_df) afterwards."
        )


def after_training(model: BaseModel, data: TaskData, metrics: Mapping[str, Metric]) -> None:
    """Switch to int8 weights where `args.quantize` asks for it and the score allows it; warn where it does not."""
    if model.args.quantize:
        limit = _bound(model.args, metrics, metric=None, minimize=None)
        try:
            _switched(model, data, metrics, limit)
        except ScoreDropError as error:
            warn_user(str(error))


def _bound(args: Any, custom: Mapping[str, Metric], *, metric: str | None, minimize: bool | None) -> Bound:
    name = metric or args.early_stopping_metric
    if minimize is None and name in custom:
        if name != args.early_stopping_metric:
            raise ArgumentError(
                f"'{name}' is a metric of your own: say whether a lower score is better, with minimize=True or "
                "minimize=False."
            )
        minimize = args.early_stopping_metric_minimize
    return Bound(name, lower_is_better(name) if minimize is None else minimize, args.quantize_bound)


def _switched(model: BaseModel, data: TaskData, metrics: Mapping[str, Metric], limit: Bound) -> QuantizeResult:
    given, accepted = model.args, False
    try:
        _switch(model, False)
        before, score = _scored(model, data, metrics, limit.metric)
        _switch(model, True)
        after, with_int8 = _scored(model, data, metrics, limit.metric)
        drop = limit.drop(score, with_int8)
        # Neither is a score that is not a number.
        if not drop <= limit.share:
            raise ScoreDropError(
                f"With int8 weights, {limit.metric} on {data.name} goes from {score:.6g} to {with_int8:.6g}, which is "
                f"{100 * drop:.3g} % worse; at most {100 * limit.share:.3g} % is accepted. The model predicts as "
                "before. Accept more with a higher bound, or leave int8 weights out."
            )
        accepted = True
    finally:
        if not accepted:
            _switch(model, given.dynamic_quantize)
            model.args = given
    return QuantizeResult(before, after, limit.metric, drop)


def _switch(model: BaseModel, on: bool) -> None:
    if model.args.onnx and model.args.dynamic_quantize != on:
        # Its weights are made int8 when they are read.
        model.model = None
    model.args = model.args.merged({"dynamic_quantize": on})


def _scored(
    model: BaseModel, data: TaskData, metrics: Mapping[str, Metric], metric: str
) -> tuple[dict[str, Any], float]:
    result, _ = model.evaluated(data, metrics, show=False)
    if metric not in result:
        raise ArgumentError(
            f"metric is '{metric}', but an evaluation here gives {sorted(result)}.{closest(metric, result)}"
        )
    return result, float(result[metric])
