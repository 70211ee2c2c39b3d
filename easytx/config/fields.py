"""How an argument is declared, checked and found by name."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
import types
import typing
from collections.abc import Callable, Collection, Iterable, KeysView, Mapping
from typing import Any, TypeVar

from typing_extensions import dataclass_transform

from easytx.config.renamed import canonical_item
from easytx.errors import ArgumentError

T = TypeVar("T")


def arg(
    *,
    default: Any,
    help: str,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    choices: Collection[Any] | None = None,
    in_global_args: bool = False,
    no_effect: str | None = None,
) -> Any:
    """Declare one argument of an args class.

    Args:
        default: Its default; lists and dicts are copied for each object.
        help: One sentence, with the unit.
        low: Smallest accepted value.
        above: Exclusive lower bound.
        high: Largest accepted value.
        choices: The accepted values, where they can be listed.
        in_global_args: Whether `easytx.global_args` holds it.
        no_effect: Why it is accepted without doing anything, for names kept so that old scripts run.
    """
    metadata = {
        "help": help,
        "low": low,
        "above": above,
        "high": high,
        "choices": choices,
        "in_global_args": in_global_args,
        "no_effect": no_effect,
    }
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=functools.partial(type(default), default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def default_of(field: dataclasses.Field[Any]) -> Any:
    """Return a field's default, made anew where it is a list or dict."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


@dataclass_transform(kw_only_default=True, field_specifiers=(arg,))
def arguments(cls: type[T]) -> type[T]:
    """Make a class of `arg` fields a keyword-only dataclass that takes alternative spellings.

    The object remembers which arguments it was given, so that merging can tell them from defaults.
    """
    decorated = dataclasses.dataclass(kw_only=True)(cls)
    generated: Callable[..., None] = decorated.__init__

    @functools.wraps(generated)
    def initialise(self: Any, **given: Any) -> None:
        spelled = dict(canonical_item(name, value, names_of(decorated)) for name, value in given.items())
        refuse_unknown(spelled, decorated)
        object.__setattr__(self, "_given", set())
        object.__setattr__(self, "_ready", False)
        generated(self, **spelled)
        object.__setattr__(self, "_given", set(spelled))
        object.__setattr__(self, "_ready", True)

    decorated.__init__ = initialise  # type: ignore[method-assign]
    return decorated


def names_of(args_class: type) -> KeysView[str]:
    """Return the names of all arguments of an args class."""
    return fields_of(args_class).keys()


def fields_of(args_class: type) -> Mapping[str, tuple[dataclasses.Field[Any], Any]]:
    """Return name -> (field, type) of an args class."""
    if args_class not in _FIELDS:
        hints = typing.get_type_hints(args_class)
        _FIELDS[args_class] = {field.name: (field, hints[field.name]) for field in dataclasses.fields(args_class)}
    return _FIELDS[args_class]


# Looked up at every assignment, so worked out once per class.
_FIELDS: dict[type, dict[str, tuple[dataclasses.Field[Any], Any]]] = {}


def closest(name: str, accepted: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the nearest accepted name, or an empty string."""
    near = nearest(name, accepted)
    return "" if near is None else f" Did you mean '{near}'?"


def nearest(name: str, accepted: Iterable[str]) -> str | None:
    """Return the accepted name that looks most like this one, or None."""
    return next(iter(difflib.get_close_matches(name, list(accepted), n=1, cutoff=0.6)), None)


def refuse_unknown(given: Iterable[str], args_class: type) -> None:
    """Raise for the first name that the args class does not have.

    Raises:
        ArgumentError: With the nearest known name.
    """
    known = names_of(args_class)
    for name in given:
        if name not in known:
            raise ArgumentError(
                f"{args_class.__name__} has no argument '{name}'.{closest(name, known)}"
                f" {args_class.__name__}.help() lists all of them."
            )


def accepts(args_class: type, name: str, value: Any) -> bool:
    """Tell whether a value is of the argument's declared type."""
    return _fits(value, fields_of(args_class)[name][1])


def checked(args_class: type, name: str, value: Any) -> Any:
    """Return the value, as the declared type, or raise if it is of another type or out of bounds.

    Raises:
        ArgumentError: Naming the argument, what was expected and what came.
    """
    field, hint = fields_of(args_class)[name]
    value = _plain(value)
    if isinstance(value, os.PathLike) and _fits("", hint):
        value = os.fspath(value)
    elif (isinstance(value, tuple) or hasattr(value, "tolist")) and not _fits(value, hint) and _fits([], hint):
        value = value.tolist() if hasattr(value, "tolist") else list(value)
    if not _fits(value, hint):
        raise ArgumentError(f"{name} must be {_spoken(hint)}, but is {value!r}.")
    if typing.get_origin(hint) is tuple:
        value = tuple(value)
        if len(value) != len(typing.get_args(hint)):
            raise ArgumentError(f"{name} must have {len(typing.get_args(hint))} values, but is {value!r}.")
    elif isinstance(value, list):
        value = [_plain(item) for item in value]
    elif isinstance(value, dict):
        value = dict(value)
    if _accepts_float_only(hint) and type(value) is int:
        value = float(value)
    _check_bounds(name, value, field.metadata)
    return value


def _plain(value: Any) -> Any:
    """Return a numpy or torch scalar as the Python value, anything else as it is."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    return value


def _check_bounds(name: str, value: Any, rules: Mapping[str, Any]) -> None:
    if rules["choices"] is not None and value is not None and value not in rules["choices"]:
        listed = ", ".join(repr(choice) for choice in rules["choices"])
        hint = closest(value, [c for c in rules["choices"] if isinstance(c, str)]) if isinstance(value, str) else ""
        raise ArgumentError(f"{name} must be one of {listed}, but is {value!r}.{hint}")
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return
    if value != value:
        raise ArgumentError(f"{name} must be a number, but is nan.")
    if rules["low"] is not None and value < rules["low"]:
        raise ArgumentError(f"{name} must be at least {rules['low']}, but is {value}.")
    if rules["above"] is not None and value <= rules["above"]:
        raise ArgumentError(f"{name} must be greater than {rules['above']}, but is {value}.")
    if rules["high"] is not None and value > rules["high"]:
        raise ArgumentError(f"{name} must be at most {rules['high']}, but is {value}.")


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if hint is types.NoneType:
        return value is None
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, (int, float))
    kind = origin or hint
    if kind is tuple:
        return isinstance(value, (tuple, list))
    return isinstance(value, kind)


def _accepts_float_only(hint: Any) -> bool:
    options = typing.get_args(hint) or (hint,)
    return float in options and int not in options


def _spoken(hint: Any) -> str:
    names = {
        bool: "True or False",
        int: "a whole number",
        float: "a number",
        str: "a text",
        types.NoneType: "None",
    }
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        return " or ".join(_spoken(option) for option in options if option is not int or float not in options)
    kind = typing.get_origin(hint) or hint
    return names.get(kind, f"a {getattr(kind, '__name__', kind)}")
