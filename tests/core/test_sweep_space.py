"""The sweep dict of Weights & Biases is read as it is meant there, or refused with a reason."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest

from easytx.core.sweep_plan import Hyperband, read_sweep
from easytx.core.sweep_space import read_parameter
from easytx.errors import ArgumentError


def _drawn(entry: dict[str, Any], *, number: int = 200) -> list[Any]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    parameter = read_parameter("x", entry)
    return [parameter.suggest(study.ask(), "x") for _ in range(number)]


def _plan(**changes: Any) -> Any:
    return read_sweep({"method": "random", "parameters": {"a": {"value": 1}}, **changes})


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.mark.parametrize(
    ("entry", "values"),
    [
        ({"values": [8, 16]}, {8, 16}),
        ({"values": ["a", "b"]}, {"a", "b"}),
        ({"values": [True, False]}, {True, False}),
        ({"values": [None, 1, "1", 2.5]}, {None, 1, "1", 2.5}),
        ({"value": 7}, {7}),
        ({"min": 2, "max": 5}, {2, 3, 4, 5}),
        ({"distribution": "int_uniform", "min": 1.0, "max": 2.0}, {1, 2}),
        ({"distribution": "q_uniform", "min": 0.1, "max": 0.3, "q": 0.1}, {0.1, 0.2, 0.3}),
        ({"distribution": "q_uniform", "min": 1, "max": 10, "q": 4}, {4, 8}),
        ({"distribution": "q_uniform", "min": 0.2, "max": 2.9}, {1, 2}),
        ({"distribution": "q_log_uniform_values", "min": 4, "max": 16, "q": 4}, {4, 8, 12, 16}),
        ({"distribution": "q_log_uniform", "min": 0, "max": 1}, {1, 2}),
    ],
)
def test_exactly_these_values_are_drawn(entry: dict[str, Any], values: set[Any]) -> None:
    assert set(_drawn(entry)) == values


def test_values_may_be_lists() -> None:
    drawn = _drawn({"values": [[0.9, 0.999], [0.8, 0.9]]}, number=20)
    assert [0.9, 0.999] in drawn
    assert [0.8, 0.9] in drawn


def test_whole_values_are_ints() -> None:
    for entry in ({"min": 2, "max": 5}, {"distribution": "q_uniform", "min": 2.0, "max": 9.0, "q": 2}):
        assert {type(value) for value in _drawn(entry, number=20)} == {int}


@pytest.mark.parametrize(
    ("entry", "low", "high", "middle"),
    [
        ({"min": 0.0, "max": 2.0}, 0.0, 2.0, 1.0),
        ({"min": 0, "max": 2.5}, 0.0, 2.5, 1.25),
        ({"distribution": "uniform", "min": 0, "max": 2}, 0.0, 2.0, 1.0),
        # Half of the values below the geometric mean, which is 1e-3.
        ({"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1}, 1e-5, 1e-1, 1e-3),
        ({"distribution": "log_uniform", "min": math.log(1e-5), "max": math.log(1e-1)}, 1e-5, 1e-1, 1e-3),
        ({"distribution": "inv_log_uniform_values", "min": 1e-5, "max": 1e-1}, 1e-5, 1e-1, 1e-3),
        ({"distribution": "inv_log_uniform", "min": -math.log(1e-1), "max": -math.log(1e-5)}, 1e-5, 1e-1, 1e-3),
        ({"distribution": "normal", "mu": 5, "sigma": 2}, -5.0, 15.0, 5.0),
        ({"distribution": "normal"}, -5.0, 5.0, 0.0),
        ({"distribution": "log_normal", "mu": 1, "sigma": 0.5}, 0.0, math.inf, math.e),
        ({"distribution": "q_normal", "mu": 10, "sigma": 3, "q": 0.5}, -5.0, 25.0, 10.0),
        ({"distribution": "beta", "a": 2, "b": 2}, 0.0, 1.0, 0.5),
    ],
)
def test_half_of_the_values_are_below_the_median(entry: dict[str, Any], low: float, high: float, middle: float) -> None:
    drawn = _drawn(entry)
    assert all(low * (1 - 1e-9) <= value <= high * (1 + 1e-9) for value in drawn if value != 0)
    # 200 draws: a share of 0.5 with a standard error of 0.035.
    assert abs(_mean([(value < middle) + 0.5 * (value == middle) for value in drawn]) - 0.5) < 0.12


def test_probabilities_are_heeded() -> None:
    drawn = _drawn({"values": ["rare", "never", "often"], "probabilities": [0.1, 0.0, 0.9]})
    assert "never" not in drawn
    assert 0.03 < _mean([value == "rare" for value in drawn]) < 0.17


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (5, "Parameter 'x' must be a dict such as {'values': [...]}, but is 5."),
        (
            {"parameters": {"y": {"value": 1}}},
            "Parameter 'x' is nested. Arguments are flat: name each of its parameters itself.",
        ),
        ({"values": [1], "mni": 2}, "Parameter 'x' (categorical) has no key 'mni'."),
        ({"distribution": "uniform", "min": 1}, "Parameter 'x' (uniform) needs max."),
        ({"min": 2, "max": 1}, "Parameter 'x': min, 2, is above max, 1."),
        ({"values": []}, "Parameter 'x' (categorical) has no value."),
        ({"values": 3}, "Parameter 'x' (categorical) cannot be read: 'int' object is not iterable."),
        (
            {"distribution": "log_uniform_values", "min": 0, "max": 1},
            "Parameter 'x' (log_uniform_values) cannot be read: min must be above 0.",
        ),
        (
            {"distribution": "int_uniform", "min": 0.5, "max": 1},
            "Parameter 'x' (int_uniform) cannot be read: min and max must be ints.",
        ),
        (
            {"values": [1, 2], "probabilities": [0.5]},
            "Parameter 'x' (categorical) cannot be read: probabilities must be one per value, and sum to 1.",
        ),
        ({"distribution": "q_uniform", "min": 0.2, "max": 0.8}, "Parameter 'x' (q_uniform) has no value."),
    ],
)
def test_what_cannot_be_read_is_refused(entry: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        read_parameter("x", entry)
    assert str(refused.value) == message


def test_an_unknown_distribution_is_refused_with_the_nearest() -> None:
    with pytest.raises(ArgumentError, match=r"Did you mean 'log_uniform'\?$"):
        read_parameter("x", {"distribution": "loguniform", "min": 1, "max": 2})


def test_exponents_that_look_like_values_are_doubted() -> None:
    with pytest.warns(UserWarning, match=r"^Parameter 'x': log_uniform takes exponents of e\. For values there is"):
        read_parameter("x", {"distribution": "log_uniform", "min": 1e-5, "max": 1e-3})


def test_what_is_left_out_has_the_defaults_of_weights_and_biases() -> None:
    plan = _plan()
    assert (plan.metric, plan.minimize, plan.target, plan.hyperband) == ("eval_loss", True, None, None)
    assert (plan.name, plan.run_cap) == ("sweep", None)
    assert _plan(metric={"name": "mcc"}).minimize


def test_a_grid_lists_its_combinations_the_last_parameter_fastest() -> None:
    plan = _plan(method="grid", parameters={"a": {"values": [1, 2]}, "b": {"min": 0, "max": 1}, "c": {"value": "c"}})
    assert plan.size() == 4
    assert [tuple(values.values()) for values in plan.combinations()] == [
        (1, 0, "c"),
        (1, 1, "c"),
        (2, 0, "c"),
        (2, 1, "c"),
    ]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"min_iter": 3}, Hyperband(3, None, 3)),
        ({"min_iter": 1, "eta": 2, "max_iter": 8}, Hyperband(1, 8, 2)),
        # Brackets at 27 / 3 and 27 / 9.
        ({"max_iter": 27, "s": 2}, Hyperband(3, 27, 3)),
        ({"max_iter": 2, "s": 4}, Hyperband(1, 2, 3)),
    ],
)
def test_hyperband_is_counted_in_evaluations(entry: dict[str, Any], expected: Hyperband) -> None:
    assert _plan(early_terminate={"type": "hyperband", **entry}).hyperband == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "gird"}, "sweep_config['method'] must be one of ['bayes', 'grid', 'random'], but is 'gird'."),
        ({"parameters": {}}, "sweep_config['parameters'] must be a dict with one entry or more."),
        ({"paramters": {}}, "sweep_config has no key 'paramters'. Did you mean 'parameters'?"),
        (
            {"metric": {"name": "mcc", "goal": "max"}},
            "sweep_config['metric'] must have a name and a goal, minimize or maximize: {'name': 'mcc', 'goal': 'max'}.",
        ),
        ({"metric": "mcc"}, "sweep_config['metric'] must be a dict, but is 'mcc'."),
        (
            {"method": "grid", "parameters": {"a": {"min": 0.0, "max": 1.0}}},
            "A grid needs all values of 'a': give values=[...], or min and max as ints.",
        ),
        (
            {"early_terminate": {"type": "envelope"}},
            "sweep_config['early_terminate']['type'] must be 'hyperband', but is 'envelope'.",
        ),
        (
            {"early_terminate": {"type": "hyperband", "max_iter": 9}},
            "sweep_config['early_terminate'] needs min_iter, or max_iter and s.",
        ),
        (
            {"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1}},
            "sweep_config['early_terminate']['eta'] must be 2 or more and whole, but is 1.",
        ),
        (
            {"early_terminate": {"type": "hyperband", "min_iter": 0}},
            "sweep_config['early_terminate']: min_iter must be 1 or more, and max_iter no less.",
        ),
    ],
)
def test_a_wrong_sweep_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        _plan(**changes)
    assert str(refused.value) == message
