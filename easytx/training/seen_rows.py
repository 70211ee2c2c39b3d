"""AdamW that leaves alone the embeddings of tokens which no batch has had yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import get_total_norm
from torch.optim.adamw import adamw
from typing_extensions import override

__all__ = ["SeenRowsAdamW", "clip_gradients", "embeddings_by_row"]

# Smaller tables of embeddings, such as those of positions, are faster as a whole.
LEAST_ROWS = 4096


def embeddings_by_row(network: nn.Module) -> list[nn.Embedding]:
    """Return the large embeddings of a network whose gradients may be sparse: nothing but embeddings has their weight.

    Those that share their weight with an output layer get a gradient for every row anyhow.
    """
    holders: dict[nn.Parameter, list[nn.Module]] = {}
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            holders.setdefault(parameter, []).append(module)
    return [
        holder
        for parameter, modules in holders.items()
        if parameter.requires_grad and all(_looks_up(module) for module in modules)
        for holder in modules
        if isinstance(holder, nn.Embedding)
    ]


def _looks_up(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Embedding)
        and module.num_embeddings >= LEAST_ROWS
        and not module.scale_grad_by_freq
        and module.max_norm is None
    )


def clip_gradients(
    parameters: Iterable[nn.Parameter], max_norm: float, optimizer: SeenRowsAdamW | None = None
) -> torch.Tensor:
    """Scale gradients so that their norm over all parameters is at most `max_norm`; return the norm before.

    The same as `torch.nn.utils.clip_grad_norm_`, for gradients some of which are sparse.

    Args:
        parameters: Those without a gradient are left out.
        max_norm: "inf" to measure only.
        optimizer: Scales the gradients in its next step, which reads and writes them anyhow; None scales them now.
    """
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            gradients.append(parameter.grad.values())
        else:
            gradients.append(parameter.grad)
    norm = get_total_norm(gradients)
    scale = float(max_norm / (norm + 1e-6))
    if scale < 1 and optimizer is not None:
        optimizer.grad_scale = 1 / torch.tensor(scale)
    elif scale < 1:
        torch._foreach_mul_(gradients, scale)
    return norm


class SeenRowsAdamW(torch.optim.AdamW):
    """AdamW with the same results as torch's, that computes only the rows seen so far where a gradient is sparse.

    A row whose gradient has been 0 from the beginning has moments of 0, and is not moved by Adam. Of a vocabulary most
    rows are such for long, and some for ever. Rows that were seen once are moved in each step, as torch's AdamW moves
    them; `torch.optim.SparseAdam` would not.

    The state in `state_dict()` has the form of torch's.
    """

    def __init__(self, params: Any, **options: Any) -> None:
        """Take what `torch.optim.AdamW` takes."""
        super().__init__(params, **options)
        # What torch's fused step divides gradients by.
        self.grad_scale: torch.Tensor | None = None
        # The rows whose moments stand first, in their order, by parameter. Of others the moments are in order.
        self._seen: dict[torch.Tensor, _SeenRows] = {}

    @override
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        if closure is not None:
            raise ValueError("this optimiser takes no closure")
        sparse = {}
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if not parameter.grad.is_sparse:
                    self._put_in_order(parameter)
                    continue
                sparse[parameter] = parameter.grad.coalesce()
                self._move_rows(parameter, sparse[parameter], group)
                parameter.grad = None
        super().step()
        self.grad_scale = None
        for parameter, gradient in sparse.items():
            parameter.grad = gradient

    @override
    def state_dict(self) -> dict[str, Any]:
        for parameter in [*self._seen]:
            self._put_in_order(parameter)
        return super().state_dict()

    @override
    def load_state_dict(self, state_dict: Any) -> None:
        self._seen.clear()
        super().load_state_dict(state_dict)

    def _move_rows(self, parameter: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        if parameter not in self._seen:
            self._put_first(parameter)
        seen = self._seen[parameter]
        places = seen.places_of(gradient.indices()[0])
        rows = seen.rows
        number = len(rows)
        weights = parameter.index_select(0, rows)
        gradients = torch.zeros_like(weights).index_copy_(0, places, gradient.values())
        if group["weight_decay"]:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        beta1, beta2 = group["betas"]
        adamw(
            [weights], [gradients], [state["exp_avg"][:number]], [state["exp_avg_sq"][:number]], [], [state["step"]],
            fused=True, amsgrad=False, maximize=False, lr=group["lr"], eps=group["eps"], beta1=beta1, beta2=beta2,
            weight_decay=group["weight_decay"], grad_scale=self.grad_scale,
        )  # fmt: skip
        parameter.index_copy_(0, rows, weights)

    def _put_first(self, parameter: torch.Tensor) -> None:
        """Put the moments of rows that have any before those of the others."""
        state = self.state[parameter]
        rows = state["exp_avg_sq"].any(dim=1).nonzero().flatten()
        self._seen[parameter] = _SeenRows(rows, len(parameter))
        for name in ("exp_avg", "exp_avg_sq"):
            kept = state[name].index_select(0, rows)
            state[name].zero_()[: len(rows)] = kept

    def _put_in_order(self, parameter: torch.Tensor) -> None:
        """Put the moments in the order of the rows."""
        seen = self._seen.pop(parameter, None)
        if seen is None:
            return
        state = self.state[parameter]
        for name in ("exp_avg", "exp_avg_sq"):
            kept = state[name][: len(seen.rows)].clone()
            state[name].zero_().index_copy_(0, seen.rows, kept)


class _SeenRows:
    """Rows in the order in which they were first seen.

    Attributes:
        rows: Their numbers.
    """

    def __init__(self, rows: torch.Tensor, number: int) -> None:
        self.rows = rows
        self._places = torch.full((number,), -1)
        self._places[rows] = torch.arange(len(rows))

    def places_of(self, rows: torch.Tensor) -> torch.Tensor:
        """Return where these rows stand; those that are new stand behind the others from now on."""
        new = rows[self._places[rows] < 0]
        if len(new):
            self._places[new] = torch.arange(len(self.rows), len(self.rows) + len(new))
            self.rows = torch.cat([self.rows, new])
        return self._places[rows]
