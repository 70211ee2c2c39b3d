"""The parameters of a sweep, as Weights & Biases describes them, and how a trial of Optuna draws their values."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from easytx.config.fields import closest
from easytx.config.warn import warn_user
from easytx.errors import ArgumentError

if TYPE_CHECKING:
    from optuna import Trial

# Keeps the tails of normal distributions finite: 4.75 standard deviations.
_TAIL = 1e-6


@dataclass(frozen=True)
class Choice:
    """One of several values, by equal or given probabilities."""

    values: tuple[Any, ...]
    probabilities: tuple[float, ...] | None = None

    @property
    def labels(self) -> list[Any]:
        """What stands for each value in a study, which can hold texts and numbers only."""
        kinds = {type(value) for value in self.values}
        if len(kinds) == 1 and kinds <= {str, int, float, bool}:
            return list(self.values)
        return [json.dumps(value) for value in self.values]

    def suggest(self, trial: Trial, name: str) -> Any:
        """Return this trial's value."""
        if self.probabilities is None:
            return self.values[self.labels.index(trial.suggest_categorical(name, self.labels))]
        ends = list(itertools.accumulate(self.probabilities))
        drawn = trial.suggest_float(name, 0.0, 1.0)
        return next((value for value, end in zip(self.values, ends, strict=True) if drawn < end), self.values[-1])

    def listed(self) -> Sequence[Any]:
        """Return all that a study may hold for this parameter."""
        return self.labels


@dataclass(frozen=True)
class Number:
    """A number between two bounds, evenly spread itself or by its logarithm, and a multiple of `step` if there is one.

    `step` 0 stands for none; with a whole step the values are whole.
    """

    low: float
    high: float
    log: bool = False
    step: float = 0

    def suggest(self, trial: Trial, name: str) -> Any:
        """Return this trial's value."""
        if self.step == 1 and not self.log:
            return trial.suggest_int(name, math.ceil(self.low), math.floor(self.high))
        drawn = trial.suggest_float(name, self.low, self.high, log=self.log)
        return drawn if not self.step else _multiple(min(max(drawn, self._first), self._last), self.step)

    def listed(self) -> Sequence[Any] | None:
        """Return all that a study may hold for this parameter, or None where it is endless."""
        if not self.step or self.log:
            return None
        number = round((self._last - self._first) / self.step) + 1
        return [_multiple(self._first + index * self.step, self.step) for index in range(number)]

    @property
    def _first(self) -> float:
        return math.ceil(self.low / self.step - 1e-9) * self.step

    @property
    def _last(self) -> float:
        return math.floor(self.high / self.step + 1e-9) * self.step


@dataclass(frozen=True)
class Quantile:
    """A number of a distribution that is given by its quantile function."""

    function: Callable[[float], float]
    step: float = 0

    def suggest(self, trial: Trial, name: str) -> Any:
        """Return this trial's value."""
        drawn = float(self.function(trial.suggest_float(name, _TAIL, 1 - _TAIL)))
        return _multiple(drawn, self.step) if self.step else drawn

    def listed(self) -> None:
        """Return None: there is no end of values."""


Parameter = Choice | Number | Quantile


def read_parameter(name: str, entry: Any) -> Parameter:
    """Return one entry of a sweep dict's `parameters`; the distributions are those of Weights & Biases.

    Raises:
        ArgumentError: If it is nested, or its distribution is unknown or lacks something.
    """
    if not isinstance(entry, Mapping):
        raise ArgumentError(f"Parameter '{name}' must be a dict such as {{'values': [...]}}, but is {entry!r}.")
    if "parameters" in entry:
        raise ArgumentError(f"Parameter '{name}' is nested. Arguments are flat: name each of its parameters itself.")
    kind = entry.get("distribution") or _implied(entry)
    if kind not in _DISTRIBUTIONS:
        raise ArgumentError(
            f"Parameter '{name}' must have values, value, min and max, or a distribution of {sorted(_DISTRIBUTIONS)}: "
            f"{dict(entry)}.{closest(str(kind), _DISTRIBUTIONS)}"
        )
    needed, optional, make = _DISTRIBUTIONS[kind]
    refuse_unknown_keys(entry, ("distribution", *needed, *optional), f"Parameter '{name}' ({kind})")
    missing = [key for key in needed if key not in entry]
    if missing:
        raise ArgumentError(f"Parameter '{name}' ({kind}) needs {' and '.join(missing)}.")
    values = {key: value for key, value in entry.items() if key != "distribution"}
    if "min" in values and values["min"] > values["max"]:
        raise ArgumentError(f"Parameter '{name}': min, {values['min']}, is above max, {values['max']}.")
    if kind.endswith("log_uniform") and 0 < values["min"] < values["max"] < 1:
        warn_user(f"Parameter '{name}': {kind} takes exponents of e. For values there is {kind}_values.")
    try:
        parameter: Parameter = make(**values)
        empty = parameter.listed() is not None and not parameter.listed()
    except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise ArgumentError(f"Parameter '{name}' ({kind}) cannot be read: {error}.") from error
    if empty:
        raise ArgumentError(f"Parameter '{name}' ({kind}) has no value.")
    return parameter


def _implied(entry: Mapping[str, Any]) -> str | None:
    if "values" in entry:
        return "categorical"
    if "value" in entry:
        return "constant"
    if "min" in entry and "max" in entry:
        return "int_uniform" if all(type(entry[key]) is int for key in ("min", "max")) else "uniform"
    return None


def _choice(values: Iterable[Any], probabilities: Iterable[float] | None = None) -> Choice:
    listed = tuple(values)
    if probabilities is None:
        return Choice(listed)
    shares = tuple(probabilities)
    if len(shares) != len(listed) or abs(sum(shares) - 1) > 1e-3:
        raise ValueError("probabilities must be one per value, and sum to 1")
    return Choice(listed, shares)


def _whole(min: int, max: int) -> Number:
    if min != int(min) or max != int(max):
        raise ValueError("min and max must be ints")
    return Number(min, max, step=1)


def _logarithmic(min: float, max: float, q: float = 0) -> Number:
    if min <= 0:
        raise ValueError("min must be above 0")
    return Number(min, max, log=True, step=q)


def _beta(a: float, b: float, q: float = 0) -> Quantile:
    from scipy.stats import beta

    return Quantile(beta(a, b).ppf, q)


def _normal(mu: float = 0.0, sigma: float = 1.0, q: float = 0) -> Quantile:
    return Quantile(NormalDist(mu, sigma).inv_cdf, q)


def _log_normal(mu: float = 0.0, sigma: float = 1.0, q: float = 0) -> Quantile:
    normal = NormalDist(mu, sigma)
    return Quantile(lambda share: math.exp(normal.inv_cdf(share)), q)


# distribution -> (keys it needs, further keys, what makes the parameter of them); a q_... without q rounds to wholes.
_DISTRIBUTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[..., Parameter]]] = {
    "constant": (("value",), (), lambda value: Choice((value,))),
    "categorical": (("values",), ("probabilities",), _choice),
    "int_uniform": (("min", "max"), (), _whole),
    "uniform": (("min", "max"), (), lambda min, max: Number(min, max)),
    "q_uniform": (("min", "max"), ("q",), lambda min, max, q=1: Number(min, max, step=q)),
    "log_uniform": (("min", "max"), (), lambda min, max: _logarithmic(math.exp(min), math.exp(max))),
    "q_log_uniform": (("min", "max"), ("q",), lambda min, max, q=1: _logarithmic(math.exp(min), math.exp(max), q)),
    "log_uniform_values": (("min", "max"), (), _logarithmic),
    "q_log_uniform_values": (("min", "max"), ("q",), lambda min, max, q=1: _logarithmic(min, max, q)),
    "inv_log_uniform": (("min", "max"), (), lambda min, max: _logarithmic(math.exp(-max), math.exp(-min))),
    "inv_log_uniform_values": (("min", "max"), (), _logarithmic),
    "normal": ((), ("mu", "sigma"), _normal),
    "q_normal": ((), ("mu", "sigma", "q"), lambda q=1, **options: _normal(q=q, **options)),
    "log_normal": ((), ("mu", "sigma"), _log_normal),
    "q_log_normal": ((), ("mu", "sigma", "q"), lambda q=1, **options: _log_normal(q=q, **options)),
    "beta": (("a", "b"), (), _beta),
    "q_beta": (("a", "b"), ("q",), lambda a, b, q=1: _beta(a, b, q)),
}
_DISTRIBUTIONS["categorical_w_probabilities"] = (("values", "probabilities"), (), _choice)


def refuse_unknown_keys(given: Any, known: Sequence[str], where: str) -> None:
    """Raise unless this is a mapping with known keys only.

    Raises:
        ArgumentError: With the nearest known key.
    """
    if not isinstance(given, Mapping):
        raise ArgumentError(f"{where} must be a dict, but is {given!r}.")
    for key in given:
        if key not in known:
            raise ArgumentError(f"{where} has no key '{key}'.{closest(str(key), known)}")


def _multiple(value: float, step: float) -> Any:
    # 3 * 0.1 is not 0.3 in binary: the digits that no step has are cut off.
    return round(value / step) * step if isinstance(step, int) else round(round(value / step) * step, 12)
