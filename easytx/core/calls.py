"""What comes with a call besides its named arguments: other names of the data, column names, custom metrics."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from easytx.config.fields import closest
from easytx.config.warn import warn_user
from easytx.data.checks import with_article
from easytx.errors import ArgumentError

# Other names of the first argument and of the evaluation data.
_DATA = ("train_df", "train_data", "train_file")
_EVALUATION = ("eval_df", "eval_data", "eval_file")

# Named by old scripts.
_IGNORED = {
    "multi_label": "the class says whether labels are multi-label",
    "verbose_logging": "logging.getLogger('easytx') says how much is logged",
}

# What scripts of old pass for rankings where nothing of the kind is meant; to `train_model` in this order.
RANKING = {
    "qrels": None,
    "run_dict": None,
    "eval_name": None,
    "eval_set": "dev",
    "top_k": 10,
    "include_titles": False,
}
_OF_RANKINGS = {**RANKING, "reranking_eval": False}

Metric = Callable[[Any, Any], Any]

M = TypeVar("M", bound=Callable[..., Any])


@dataclass
class Call:
    """The keyword arguments of one call, sorted out.

    Attributes:
        data: The rows to train on, or to evaluate.
        evaluation: The rows to evaluate while training.
        renames: Our column name -> the caller's.
        metrics: Name -> function of (truth, predictions).
        options: Arguments of this method alone.
    """

    data: Any = None
    evaluation: Any = None
    renames: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def read_call(
    method: str,
    kwargs: Mapping[str, Any],
    *,
    data: Any = None,
    evaluation: Any = None,
    columns: tuple[str, ...],
    arguments: Container[str] = (),
    options: tuple[str, ...] = (),
    output_dir: Any = None,
    remedy: str = "give it as the first argument",
) -> Call:
    """Sort out what was given to a method.

    Args:
        method: Its name.
        kwargs: Its keyword arguments beyond those that it names.
        data: What was given as data.
        evaluation: What was given as evaluation data.
        columns: The names of our columns.
        arguments: The names that belong into args.
        options: Keyword arguments of this method alone.
        output_dir: What was given as such.
        remedy: What to do where there is no data.

    Raises:
        ArgumentError: If the data is missing or given twice, an argument is neither known nor a function, or there is
            something else where `output_dir` belongs.
    """
    if output_dir is not None and output_dir is not False and not isinstance(output_dir, (str, os.PathLike)):
        raise ArgumentError(
            f"The second argument of {method} is output_dir, a text or a path, but is "
            f"{with_article(type(output_dir).__name__)}. Labels stand in the rows, and rows to evaluate on while "
            "training are given as eval_df=..."
        )
    call = Call(data, evaluation)
    first, second = (_DATA, _EVALUATION) if method == "train_model" else (_EVALUATION, ())
    for name, value in kwargs.items():
        if name in first and call.data is None:
            call.data = value
        elif name in second and call.evaluation is None:
            call.evaluation = value
        elif name in (*first, *second):
            raise ArgumentError(f"{method} has its rows twice: '{name}' is another name of what was given already.")
        elif name in options:
            call.options[name] = value
        elif name.endswith("_column") and name.removesuffix("_column") in columns:
            call.renames[name.removesuffix("_column")] = value
        elif name in _IGNORED:
            if value is None:
                continue
            warn_user(f"{method}({name}=...) has no effect: {_IGNORED[name]}.")
        elif name in _OF_RANKINGS:
            if value != _OF_RANKINGS[name]:
                raise ArgumentError(
                    f"{method} cannot use '{name}': ClassificationModel and T5Model rank passages, with rerank, and "
                    "score rankings, with as_reranker=True in args."
                )
        elif callable(value):
            call.metrics[name] = value
        elif name in arguments:
            hint = f"{method}(..., args={{'{name}': ...}})" if method == "train_model" else f"model.args.{name} = ..."
            raise ArgumentError(f"{method} takes no '{name}': it belongs into args, as in {hint}.")
        else:
            known = [
                *first,
                *second,
                *options,
                *(f"{column}_column" for column in columns),
                "output_dir",
                "args",
            ]
            raise ArgumentError(
                f"{method} has no argument '{name}', and its value is no function to be a metric.{closest(name, known)}"
            )
    if call.data is None:
        raise ArgumentError(f"{method} needs data: {remedy}.")
    return call


def with_multi_label_second(method: M, *names: str) -> M:
    """Return a method that also takes its arguments as old scripts give them: after the rows, `multi_label`.

    Args:
        method: Takes the rows first.
        *names: The arguments that come after `multi_label` there, in their order.
    """

    @functools.wraps(method)
    def call(self: Any, *given: Any, **kwargs: Any) -> Any:
        if len(given) > 1 and isinstance(given[1], bool):
            if len(given) - 2 > len(names):
                raise ArgumentError(f"{method.__name__} takes at most {len(names) + 2} arguments without their names.")
            rows, multi_label, *others = given
            named = {"multi_label": multi_label, **dict(zip(names, others, strict=False))}
            given, kwargs = (rows,), {**named, **kwargs}
        return method(self, *given, **kwargs)

    return cast(M, call)


def custom_scores(
    metrics: Mapping[str, Metric], truth: Any, predictions: Any, raw: Any = None, numeric_truth: Any = None
) -> dict[str, Any]:
    """Return the scores of custom metrics.

    Args:
        metrics: Name -> function. One whose name starts with `prob_` gets `raw` instead of the predictions.
        truth: One true answer per row.
        predictions: One predicted answer per row.
        raw: The model's outputs, one per row.
        numeric_truth: The truth for `prob_` metrics, where it is not `truth`.
    """
    scores = {}
    for name, function in metrics.items():
        if name.startswith("prob_") and raw is not None:
            scores[name] = function(truth if numeric_truth is None else numeric_truth, raw)
        else:
            scores[name] = function(truth, predictions)
    return scores
