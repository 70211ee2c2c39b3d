"""The sweep dict of Weights & Biases, read: what is searched, by which method, for which metric."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from easytx.core.sweep_space import Parameter, read_parameter, refuse_unknown_keys
from easytx.errors import ArgumentError

_METHODS = ("bayes", "grid", "random")

# Of these the second line is for the server and the command line of Weights & Biases, and means nothing here.
_KEYS = ("method", "metric", "parameters", "early_terminate", "name", "run_cap")
_FOREIGN = ("command", "controller", "description", "entity", "imports", "parent", "program", "project", "type")


@dataclass(frozen=True)
class Hyperband:
    """When to end a trial early, counted in evaluations."""

    min_iter: int
    max_iter: int | None
    eta: int


@dataclass(frozen=True)
class Plan:
    """What a sweep dict asks for.

    Attributes:
        method: "grid", "random" or "bayes".
        metric: The score to compare trials by.
        minimize: Whether a lower score is better.
        target: A score that ends the sweep.
        parameters: What is searched, by name.
        hyperband: When to end a trial early; None for never.
        name: The name of the sweep.
        run_cap: Most trials; None for no limit.
    """

    method: str
    metric: str
    minimize: bool
    target: float | None
    parameters: dict[str, Parameter]
    hyperband: Hyperband | None
    name: str
    run_cap: int | None

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Return all combinations of a grid, the last parameter changing fastest, as a study holds them."""
        for values in itertools.product(*self._lists()):
            yield dict(zip(self.parameters, values, strict=True))

    def size(self) -> int | None:
        """Return the number of combinations of a grid; None for other methods."""
        return math.prod(map(len, self._lists())) if self.method == "grid" else None

    def is_better(self, score: float, than: float) -> bool:
        """Tell whether a score is better than another."""
        return score < than if self.minimize else score > than

    def _lists(self) -> list[Sequence[Any]]:
        return [parameter.listed() or () for parameter in self.parameters.values()]


def read_sweep(config: Mapping[str, Any]) -> Plan:
    """Return what a sweep dict of Weights & Biases asks for.

    Raises:
        ArgumentError: If something in it is unknown, missing or contradictory.
    """
    refuse_unknown_keys(config, (*_KEYS, *_FOREIGN), "sweep_config")
    method = config.get("method")
    if method not in _METHODS:
        raise ArgumentError(f"sweep_config['method'] must be one of {list(_METHODS)}, but is {method!r}.")
    metric = config.get("metric") or {"name": "eval_loss"}
    refuse_unknown_keys(metric, ("goal", "impute", "name", "target"), "sweep_config['metric']")
    if not metric.get("name") or metric.get("goal", "minimize") not in ("minimize", "maximize"):
        raise ArgumentError(f"sweep_config['metric'] must have a name and a goal, minimize or maximize: {metric}.")
    described = config.get("parameters")
    if not isinstance(described, Mapping) or not described:
        raise ArgumentError("sweep_config['parameters'] must be a dict with one entry or more.")
    parameters = {name: read_parameter(name, entry) for name, entry in described.items()}
    if method == "grid":
        for name, parameter in parameters.items():
            if parameter.listed() is None or getattr(parameter, "probabilities", None) is not None:
                raise ArgumentError(f"A grid needs all values of '{name}': give values=[...], or min and max as ints.")
    early = config.get("early_terminate")
    return Plan(
        method=method,
        metric=metric["name"],
        minimize=metric.get("goal", "minimize") == "minimize",
        target=metric.get("target"),
        parameters=parameters,
        hyperband=None if early is None else _read_hyperband(early),
        name=config.get("name") or "sweep",
        run_cap=config.get("run_cap"),
    )


def _read_hyperband(entry: Mapping[str, Any]) -> Hyperband:
    where = "sweep_config['early_terminate']"
    refuse_unknown_keys(entry, ("eta", "max_iter", "min_iter", "s", "strict", "type"), where)
    if entry.get("type") != "hyperband":
        raise ArgumentError(f"{where}['type'] must be 'hyperband', but is {entry.get('type')!r}.")
    low, high, rounds, eta = entry.get("min_iter"), entry.get("max_iter"), entry.get("s"), entry.get("eta", 3)
    if low is None and (high is None or rounds is None):
        raise ArgumentError(f"{where} needs min_iter, or max_iter and s.")
    if eta != int(eta) or eta < 2:
        raise ArgumentError(f"{where}['eta'] must be 2 or more and whole, but is {eta}.")
    first = int(low) if low is not None else max(1, int(high // eta**rounds))
    if first < 1 or (high is not None and high < first):
        raise ArgumentError(f"{where}: min_iter must be 1 or more, and max_iter no less.")
    return Hyperband(first, None if high is None else int(high), int(eta))
