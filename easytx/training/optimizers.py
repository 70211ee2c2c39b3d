"""Which parameters train, with which learning rate and decay; the names of optimisers and schedules."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from torch import nn
from transformers import SchedulerType
from transformers.trainer_pt_utils import get_parameter_names
from transformers.training_args import OptimizerNames

from easytx.errors import ArgumentError

__all__ = ["freeze_modules", "freeze_others", "optimizer_name", "parameter_groups", "scheduler_name"]

# Where torch takes a whole step of AdamW in one kernel, several times faster than operation by operation.
FUSED_DEVICES = frozenset({"cpu", "cuda"})
OPTIMIZERS = {"AdamW": "adamw_torch", "Adafactor": "adafactor", "Adam8bit": "adamw_bnb_8bit"}
SCHEDULERS = {
    "constant_schedule": "constant",
    "constant_schedule_with_warmup": "constant_with_warmup",
    "linear_schedule_with_warmup": "linear",
    "cosine_schedule_with_warmup": "cosine",
    "cosine_with_hard_restarts_schedule_with_warmup": "cosine_with_restarts",
    "polynomial_decay_schedule_with_warmup": "polynomial",
}

# The Trainer's rule for what gets no weight decay, and the normalisation classes that it knows by name only.
_NORMS = [nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d]
_NO_DECAY = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]

# BERT and its kin, ModernBERT and BART, GPT-2, T5. The outermost number counts: a T5 block has layers inside.
_LAYER = re.compile(r"(?:^|\.)(?:layer|layers|h|block)\.(\d+)\.")
_SHARED_LAYERS = "albert_layer_groups."


class _Choice(NamedTuple):
    """What the caller wants for a parameter: its group's position and options."""

    position: int
    options: Mapping[str, Any]
    by_layer: bool


def parameter_groups(
    model: nn.Module,
    *,
    weight_decay: float,
    learning_rate: float | None,
    custom_parameter_groups: Sequence[Mapping[str, Any]] = (),
    custom_layer_parameters: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Return the parameters that train, in groups as a torch optimiser takes them.

    Biases and normalisation layers get no weight decay, unless a custom parameter group sets one. A parameter
    that a custom parameter group names follows that group even inside a custom layer.

    Args:
        model: Its parameters that require a gradient are grouped, each in one group.
        weight_decay: For parameters without a weight decay of their own.
        learning_rate: For parameters without a learning rate of their own; None leaves it to the optimiser.
        custom_parameter_groups: Such as `{"params": ["classifier.weight"], "lr": 1e-2}`: the names of
            parameters, and options of the optimiser for them.
        custom_layer_parameters: Such as `{"layer": 10, "lr": 1e-4}`: the number of a layer, counted from 0,
            and options of the optimiser for it. In a model of encoder and decoder that layer of both.

    Raises:
        ArgumentError: A parameter or layer is not there, is given twice, or nothing is left to train.
    """
    chosen = _chosen(model, custom_parameter_groups, custom_layer_parameters)
    decaying = set(get_parameter_names(model, _NORMS, _NO_DECAY))
    defaults: dict[str, Any] = {} if learning_rate is None else {"lr": learning_rate}
    rest = _Choice(len(custom_parameter_groups) + len(custom_layer_parameters), {}, by_layer=False)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        choice = chosen.get(name, rest)
        bare = name not in decaying and (choice.by_layer or "weight_decay" not in choice.options)
        decay = 0.0 if bare else choice.options.get("weight_decay", weight_decay)
        group = {"params": [], **defaults, **choice.options, "weight_decay": decay}
        groups.setdefault((choice.position, bare), group)["params"].append(parameter)
    if not groups:
        raise ArgumentError("No parameter is left to train: all of them are frozen. Freeze fewer.")
    return [groups[key] for key in sorted(groups)]


def freeze_others(
    model: nn.Module,
    custom_parameter_groups: Sequence[Mapping[str, Any]] = (),
    custom_layer_parameters: Sequence[Mapping[str, Any]] = (),
) -> list[str]:
    """Freeze the parameters that no custom group or layer names, and return the names of those newly frozen.

    Raises:
        ArgumentError: A parameter or layer is not there or is given twice, or none is given.
    """
    chosen = _chosen(model, custom_parameter_groups, custom_layer_parameters)
    if not chosen:
        raise ArgumentError(
            "train_custom_parameters_only needs custom_parameter_groups or custom_layer_parameters, but both "
            "are empty. Name the parameters to train there."
        )
    return _freeze(model, [name for name, _ in model.named_parameters() if name not in chosen])


def freeze_modules(model: nn.Module, names: Sequence[str]) -> list[str]:
    """Freeze whole modules or single parameters, and return the names of the parameters newly frozen.

    Args:
        model: What to freeze in.
        names: Such as "bert.embeddings", "bert.encoder.layer.0" or "classifier.bias". The name of the encoder
            at the start ("bert.") may be left out.

    Raises:
        ArgumentError: A name fits nothing.
    """
    base = f"{getattr(model, 'base_model_prefix', '')}."
    every = _canonical(model)
    frozen: list[str] = []
    for name in names:
        start = name.rstrip(".")
        starts = (start, base + start)
        found = [
            own for path, own in every.items() if path in starts or path.startswith(tuple(f"{s}." for s in starts))
        ]
        if not found:
            modules = [path for path, _ in model.named_modules() if path]
            raise ArgumentError(_unknown("freeze", [name], [*modules, *every]))
        frozen += found
    return _freeze(model, frozen)


def optimizer_name(name: str, device_type: str) -> str:
    """Return the Trainer's name of an optimiser.

    Args:
        name: "AdamW", "Adafactor", "Adam8bit" or a name of the Trainer's.
        device_type: Such as "cpu"; AdamW is fused where torch can.

    Raises:
        ArgumentError: There is no optimiser of this name.
    """
    if name == "AdamW" and device_type in FUSED_DEVICES:
        return OptimizerNames.ADAMW_TORCH_FUSED.value
    return _translated("optimizer", name, OPTIMIZERS, [known.value for known in OptimizerNames])


def scheduler_name(name: str) -> str:
    """Return the Trainer's name of a learning rate schedule.

    Args:
        name: Such as "linear_schedule_with_warmup", or a name of the Trainer's, such as "linear".

    Raises:
        ArgumentError: There is no schedule of this name.
    """
    return _translated("scheduler", name, SCHEDULERS, [known.value for known in SchedulerType])


def _chosen(
    model: nn.Module, groups: Sequence[Mapping[str, Any]], layers: Sequence[Mapping[str, Any]]
) -> dict[str, _Choice]:
    """Return what the caller wants for each parameter that a group or layer of theirs names."""
    chosen: dict[str, _Choice] = {}
    every = _canonical(model)
    for position, group in enumerate(groups):
        wanted = _value(group, "params", "custom_parameter_groups", '{"params": ["classifier.weight"], "lr": 1e-2}')
        wanted = [wanted] if isinstance(wanted, str) else list(wanted)
        unknown = [name for name in wanted if name not in every]
        if unknown:
            raise ArgumentError(_unknown("custom_parameter_groups", unknown, every))
        options = {key: value for key, value in group.items() if key != "params"}
        for name in wanted:
            if every[name] in chosen:
                raise ArgumentError(f"custom_parameter_groups names {name!r} twice. Name each parameter once.")
            chosen[every[name]] = _Choice(position, options, by_layer=False)
    by_layer: dict[int, _Choice] = {}
    for position, group in enumerate(layers, start=len(groups)):
        number = _value(group, "layer", "custom_layer_parameters", '{"layer": 10, "lr": 1e-4}')
        if number in by_layer:
            raise ArgumentError(f"custom_layer_parameters names layer {number} twice. Name each layer once.")
        options = {key: value for key, value in group.items() if key != "layer"}
        by_layer[number] = _Choice(position, options, by_layer=True)
    if by_layer:
        numbers = _layer_numbers(every.values())
        _check_layers(by_layer, numbers, shared=any(_SHARED_LAYERS in name for name in every))
        for name, number in numbers.items():
            if number in by_layer:
                chosen.setdefault(name, by_layer[number])
    return chosen


def _canonical(model: nn.Module) -> dict[str, str]:
    """Return every name of a parameter with the one `named_parameters` uses: tied weights have two."""
    own = {id(parameter): name for name, parameter in model.named_parameters()}
    return {name: own[id(parameter)] for name, parameter in model.named_parameters(remove_duplicate=False)}


def _layer_numbers(names: Iterable[str]) -> dict[str, int]:
    """Return the number of the layer of each parameter that is in one."""
    found = {name: _LAYER.search(name) for name in names}
    return {name: int(match.group(1)) for name, match in found.items() if match}


def _check_layers(wanted: Iterable[int], numbers: Mapping[str, int], *, shared: bool) -> None:
    if shared:
        raise ArgumentError(
            "custom_layer_parameters needs layers with parameters of their own, but this model shares its "
            "layers: all have the same parameters. Use custom_parameter_groups."
        )
    if not numbers:
        raise ArgumentError(
            "custom_layer_parameters needs a model with numbered layers, but this one has none. "
            "Use custom_parameter_groups."
        )
    count = max(numbers.values()) + 1
    for number in wanted:
        if number not in numbers.values():
            raise ArgumentError(
                f"custom_layer_parameters names layer {number!r}, but the model has {count} layers. "
                f"Use 0 to {count - 1}."
            )


def _freeze(model: nn.Module, names: Collection[str]) -> list[str]:
    wanted = set(names)
    frozen = []
    for name, parameter in model.named_parameters():
        if name in wanted and parameter.requires_grad:
            parameter.requires_grad_(False)
            frozen.append(name)
    return frozen


def _value(group: Mapping[str, Any], key: str, argument: str, example: str) -> Any:
    if not isinstance(group, Mapping) or key not in group:
        raise ArgumentError(f"{argument} needs the key {key!r} in each entry, but has {group!r}. Write {example}.")
    return group[key]


def _unknown(argument: str, unknown: Sequence[str], known: Iterable[str]) -> str:
    listed = list(known)
    close = dict.fromkeys(match for name in unknown for match in get_close_matches(name, listed, n=3, cutoff=0.5))
    hint = f"Did you mean {', '.join(map(repr, close))}?" if close else "See model.named_parameters()."
    return f"{argument} names {', '.join(map(repr, unknown))}, which the model does not have. {hint}"


def _translated(argument: str, name: str, ours: Mapping[str, str], theirs: Collection[str]) -> str:
    if name in ours:
        return ours[name]
    if name in theirs:
        return str(getattr(name, "value", name))
    written = {known.lower(): known for known in [*ours, *theirs]}
    close = [written[known] for known in get_close_matches(str(name).lower(), written, n=3, cutoff=0.5)]
    hint = f" Did you mean {', '.join(map(repr, close))}?" if close else ""
    raise ArgumentError(
        f"{argument} must be one of {', '.join(map(repr, ours))} or a name of the Trainer's, but is {name!r}.{hint}"
    )
