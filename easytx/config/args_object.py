"""What every args object can do: validate, merge, read as a mapping, save, load, explain itself."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Collection, ItemsView, Iterator, KeysView, Mapping
from pathlib import Path
from typing import Any, TypeVar

from easytx.config.fields import accepts, checked, default_of, fields_of, names_of, refuse_unknown
from easytx.config.renamed import canonical_item
from easytx.config.warn import warn_user
from easytx.errors import ArgumentError

A = TypeVar("A", bound="ArgsObject")

# Where a saved file names the arguments that were set to what is their default anyway.
SET_TO_DEFAULT = "set_to_default"


class ArgsObject:
    """Base of the args classes. An object also reads as a mapping from name to value."""

    _given: set[str]
    _ready: bool

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an argument.

        Raises:
            ArgumentError: If there is no such argument, or the value is of another type or out of bounds.
        """
        cls = type(self)
        if self._ready:
            name, value = canonical_item(name, value, names_of(cls))
            refuse_unknown([name], cls)
            self._given.add(name)
        object.__setattr__(self, name, checked(cls, name, value))

    def __getitem__(self, name: str) -> Any:
        """Return an argument by name."""
        if name not in names_of(type(self)):
            raise KeyError(name)
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        """Set an argument by name."""
        setattr(self, name, value)

    def __contains__(self, name: object) -> bool:
        """Tell whether there is an argument of this name."""
        return name in names_of(type(self))

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.to_dict())

    def keys(self) -> KeysView[str]:
        """Return the names."""
        return self.to_dict().keys()

    def items(self) -> ItemsView[str, Any]:
        """Return names and values."""
        return self.to_dict().items()

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument by name, or `default` where there is none of that name."""
        return getattr(self, name) if name in self else default

    def to_dict(self) -> dict[str, Any]:
        """Return all arguments as a new dict."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    def given(self) -> dict[str, Any]:
        """Return only the arguments that were set, or added to if they are lists or dicts."""
        return {name: value for name, value in self.to_dict().items() if self.is_set(name)}

    def is_set(self, name: str) -> bool:
        """Tell whether an argument was set, be it to its default."""
        return name in self and (name in self._given or self._added_to(name))

    def _added_to(self, name: str) -> bool:
        value = getattr(self, name)
        return isinstance(value, (list, dict)) and value != default_of(fields_of(type(self))[name][0])

    def update_from_dict(self, values: Mapping[str, Any]) -> None:
        """Set several arguments of this object."""
        for name, value in values.items():
            setattr(self, name, value)

    def merged(self: A, other: Mapping[str, Any] | ArgsObject | None) -> A:
        """Return a new object with `other` taking precedence; neither of the two is changed.

        Args:
            other: A mapping, or an args object of which only what was set on it counts.

        Raises:
            ArgumentError: For unknown names and values out of bounds.
        """
        if other is not None and not hasattr(other, "keys"):
            raise ArgumentError(f"args must be a dict or an object of {type(self).__name__}, but is {other!r}.")
        values = other.given() if isinstance(other, ArgsObject) else dict(other or {})
        known = names_of(type(self))
        spelled = dict(canonical_item(name, value, known) for name, value in values.items())
        return type(self)(**{**self.given(), **spelled})

    @classmethod
    def redeclared(cls) -> frozenset[str]:
        """Return the arguments whose default a task's own class states again."""
        shared = next(base for base in reversed(cls.__mro__) if dataclasses.is_dataclass(base))
        own: set[str] = set()
        for base in cls.__mro__[: cls.__mro__.index(shared)]:
            own.update(name for name in inspect.get_annotations(base) if name in names_of(shared))
        return frozenset(own)

    @classmethod
    def known_part(cls, values: Mapping[str, Any], *, source: str) -> dict[str, Any]:
        """Return what of a saved file this class knows; the rest is dropped with one warning that names it."""
        unknown = sorted(set(values) - names_of(cls) - {SET_TO_DEFAULT})
        if unknown:
            warn_user(f"{source} holds arguments that {cls.__name__} does not have: {unknown}. They are dropped.")
        # Null where None is no value of ours stands for "not set".
        return {
            name: value
            for name, value in values.items()
            if name in names_of(cls) and (value is not None or accepts(cls, name, None))
        }

    @classmethod
    def set_part(cls, values: Mapping[str, Any], *, also: Collection[str] = ()) -> dict[str, Any]:
        """Return what of arguments that may be defaults was set: what is another value, and those named by `also`.

        Raises:
            ArgumentError: For values of another type or out of bounds.
        """
        sound = {name: checked(cls, name, value) for name, value in values.items()}
        return {
            name: value for name, value in sound.items() if name in also or value != default_of(fields_of(cls)[name][0])
        }

    def save(self, folder: str | Path) -> Path:
        """Write `model_args.json` into a folder, without `not_saved_args` and without what JSON cannot hold.

        `wandb_kwargs` is left out, because it may hold objects and secrets, and so are the tokens in `trainer_kwargs`.
        """
        left_out = {*self.get("not_saved_args", []), "wandb_kwargs"}
        values = {name: value for name, value in self.to_dict().items() if name not in left_out and _is_json(value)}
        if "trainer_kwargs" in values:
            values["trainer_kwargs"] = {k: v for k, v in values["trainer_kwargs"].items() if not k.endswith("token")}
        defaults = [name for name in self.given() if name in values and name not in type(self).set_part(values)]
        if defaults:
            values[SET_TO_DEFAULT] = sorted(defaults)
        path = Path(folder) / "model_args.json"
        path.write_text(json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls: type[A], folder: str | Path) -> A:
        """Return the arguments saved in a folder; unknown names are dropped with a warning."""
        saved = read_saved(folder)
        known = cls.known_part(saved, source="model_args.json")
        return cls(**cls.set_part(known, also=saved.get(SET_TO_DEFAULT, ())))

    @classmethod
    def describe(cls) -> list[dict[str, Any]]:
        """Return one dict per argument: name, type, default, help, no_effect."""
        return [
            {
                "name": name,
                "type": _type_name(hint),
                "default": default_of(field),
                "help": field.metadata["help"],
                "no_effect": field.metadata["no_effect"],
            }
            for name, (field, hint) in fields_of(cls).items()
        ]

    @classmethod
    def help(cls, name: str | None = None) -> str:
        """Return the meaning of one argument, or a line for each.

        Raises:
            ArgumentError: If there is no such argument.
        """
        if name is not None:
            refuse_unknown([name], cls)
        rows = [row for row in cls.describe() if name in (None, row["name"])]
        return "\n".join(
            f"{row['name']} ({row['type']}, default {row['default']!r}): {row['help']}"
            + (f" Without effect: {row['no_effect']}." if row["no_effect"] else "")
            for row in rows
        )


def read_saved(folder: str | Path) -> dict[str, Any]:
    """Return what `model_args.json` of a folder holds, or an empty dict where there is none."""
    path = Path(folder) / "model_args.json"
    if not path.is_file():
        return {}
    saved: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return saved


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _type_name(hint: Any) -> str:
    return (
        hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint).replace("typing.", "")
    )
