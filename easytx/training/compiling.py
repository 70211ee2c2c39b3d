"""Networks that torch.compile has compiled: one graph for batches of all lengths."""

from __future__ import annotations

import functools
import types
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from easytx.errors import UnsupportedError

__all__ = ["compiled"]

# What graphs are compiled with.
BACKEND: str | Callable[..., Any] = "inductor"

# network -> whether it trains -> its compiled call. A call holds no network, so that networks can go.
_CALLS: weakref.WeakKeyDictionary[nn.Module, dict[bool, Callable[..., Any]]] = weakref.WeakKeyDictionary()


def compiled(network: nn.Module) -> Callable[..., Any]:
    """Return what computes the same as a network by compiled code; the network itself stays as it is.

    The lengths of batches and their numbers of rows are variables of the graph (`dynamic=True`), so that one graph
    serves all batches with the same columns and batches need no more padding than they have. Only a batch of a single
    row has a graph of its own: torch takes an axis of size 1 for fixed. Graphs of fixed lengths, the alternative,
    would be one per length, each compiled for as long as this one, and save no time that could be measured.

    What is compiled first is compiled when it is first called, and kept for networks of the same class and
    configuration: weights that change, or move to a copy, cost nothing.

    Raises:
        UnsupportedError: When called, if torch cannot compile here, for example without a C++ compiler.
    """
    calls = _CALLS.setdefault(network, {})
    if network.training not in calls:
        bare: Any = getattr(network, "module", network)
        calls[network.training] = _call_of(
            type(bare).__name__, str(getattr(bare, "config", "")), network.training, BACKEND
        )
    return functools.partial(calls[network.training], network)


@functools.lru_cache(maxsize=64)
def _call_of(name: str, config: str, training: bool, backend: Any) -> Callable[..., Any]:
    # torch keeps graphs, a few at most, under the code object of the function. One that networks of all kinds share
    # would soon be full.
    code = _forward.__code__.replace(co_name=f"{name}_{hash((config, training)):x}")
    forward = torch.compile(types.FunctionType(code, globals()), dynamic=True, backend=backend)

    def call(network: nn.Module, **inputs: Any) -> Any:
        try:
            # What takes several graphs hands tensors from one to the next. torch looks at these, and keeps what it
            # would warn of from being shown, which does not help where warnings are errors.
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=r"The \.grad attribute of a Tensor")
                return forward(network, inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise UnsupportedError(_advice(error)) from error

    return call


def _forward(network: nn.Module, inputs: dict[str, Any]) -> Any:
    return network(**inputs)


def _advice(error: Exception) -> str:
    cause = getattr(error, "inner_exception", error)
    said = (str(cause).strip().splitlines() or [""])[0]
    return (
        f"torch_compile is set, but torch cannot compile the model here. The cause was: {type(cause).__name__}: {said} "
        "On a CPU it needs a C++ compiler, such as g++ (the environment variable CXX names another), on a GPU the "
        "package triton. Install it, or leave torch_compile out."
    )
