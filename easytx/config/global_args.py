"""`global_args`, the defaults a user may edit, and the cascade that every model's arguments come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from easytx.config.args_object import SET_TO_DEFAULT
from easytx.config.fields import default_of, refuse_unknown
from easytx.config.model_args import ModelArgs
from easytx.config.utils import sweep_config_to_sweep_values

A = TypeVar("A", bound=ModelArgs)

global_args: dict[str, Any] = {
    field.name: default_of(field) for field in dataclasses.fields(ModelArgs) if field.metadata["in_global_args"]
}


def resolve(
    args_class: type[A],
    *,
    saved: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | ModelArgs | None = None,
    sweep: Mapping[str, Any] | None = None,
) -> A:
    """Return the arguments of a new model; the more specific source wins.

    The order is: `global_args`, defaults that the task re-declares, the arguments saved in a model folder, the
    arguments given to the constructor, the values of a sweep.

    Args:
        args_class: The task's args class.
        saved: What `model_args.json` of a loaded folder holds; unknown names are dropped with a warning.
        given: A dict or an args object; of an object only what was set on it counts.
        sweep: Values chosen by a hyperparameter sweep.

    Raises:
        ArgumentError: For unknown names and values out of bounds.
    """
    refuse_unknown(global_args, ModelArgs)
    own = args_class.redeclared()
    edited = args_class.set_part({name: value for name, value in global_args.items() if name not in own})
    known = args_class.known_part(saved or {}, source="model_args.json")
    # A folder's default comes before what was edited too, but counts as set only if it was set before it was saved.
    args = args_class(**{name: value for name, value in edited.items() if name not in known})
    args = args.merged(args_class.set_part(known, also=(saved or {}).get(SET_TO_DEFAULT, ())))
    return args.merged(given).merged(None if sweep is None else sweep_config_to_sweep_values(sweep))
