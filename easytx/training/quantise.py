"""Int8 weights for prediction on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from easytx.errors import DeviceError, UnsupportedError
from easytx.training.copies import copied_with, kept_copy, with_layers
from easytx.training.prepacked import LINEAR, weight_of

__all__ = ["check_int8_device", "dynamically_quantised"]

# The largest number of int8; -128 is not used.
_LARGEST = 127

# Rows that are scaled, multiplied and scaled back at a time, while they are in the chip's cache: 4096 rows of 384
# numbers times 1536 outputs took 15 ms in such blocks, 27 to 36 ms at once.
_BLOCK = 256

# Below this many outputs, as in the head of a classifier, there is nothing to gain and much to lose.
_FEWEST_OUTPUTS = 16


class Int8Linear(nn.Module):
    """A linear layer with int8 weights, whose inputs become int8 as they come.

    Each output has a scale for its weights, and each row of inputs, which is a token, has its own: the largest
    magnitude becomes 127 (Dettmers et al. 2022, "LLM.int8()", section 2.1, vector-wise quantisation). So what a text
    gets does not depend on what shares its batch. torch's own dynamic quantisation has one scale for the whole batch:
    it left the token vectors of a MiniLM encoder 26 % to 40 % away from those of the float weights, this one 8 %, and
    a batch took as long.

    Args:
        weight: Of shape (outputs, inputs).
        bias: Of shape (outputs,), or None; shared, not copied.
    """

    scale: torch.Tensor
    weight: torch.Tensor

    def __init__(self, weight: torch.Tensor, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        scale = weight.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / _LARGEST
        self.register_buffer("scale", scale)
        # The other way round than in a linear layer, as the product reads them.
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8).T.contiguous())
        self.bias = bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the product, float32 of shape (..., outputs)."""
        rows = inputs.reshape(-1, self.in_features).float()
        outputs = rows.new_empty(len(rows), self.out_features)
        # In compiled code a number of blocks would be a shape of its own.
        whole = torch.compiler.is_compiling()
        blocks = [(rows, outputs)] if whole else zip(rows.split(_BLOCK), outputs.split(_BLOCK), strict=True)
        for some, output in blocks:
            scale = some.abs().amax(dim=1, keepdim=True).clamp_(min=torch.finfo(torch.float32).tiny).div_(_LARGEST)
            # int8 x int8 -> int32
            product = torch._int_mm((some / scale).round_().to(torch.int8), self.weight)
            output.copy_(product).mul_(self.scale).mul_(scale)
            if self.bias is not None:
                output.add_(self.bias)
        return outputs.view(*inputs.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """Return what stands in the brackets."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def check_int8_device(name: str, device: torch.device) -> None:
    """Raise where there are no int8 weights.

    Args:
        name: The argument that asks for them.
        device: Where the model is.

    Raises:
        DeviceError: If that is no CPU.
    """
    if device.type != "cpu":
        raise DeviceError(
            f"{name} is set, but int8 weights are for prediction on a CPU and the model is on {device}. Open it with "
            f"use_cuda=False, or with args={{'{name}': False}}."
        )


def dynamically_quantised(network: nn.Module) -> nn.Module:
    """Return a copy of a network on the CPU whose linear layers hold int8 weights; see `Int8Linear`.

    All other weights are shared with the network. The copy is made once, and anew after the weights have changed.

    Raises:
        UnsupportedError: If this torch has no fast product of int8 matrices.
    """
    return kept_copy(network, "int8", lambda: _quantised(network))


@torch.no_grad()
def _quantised(network: nn.Module) -> nn.Module:
    if not hasattr(torch, "_int_mm") or not torch.backends.mkldnn.is_available():
        raise UnsupportedError(
            f"dynamic_quantize needs fast products of int8 matrices, which this torch ({torch.__version__}) does not "
            "have. Leave it out, or write the model with convert_to_onnx() and quantized_model=True, for int8 weights "
            "by ONNX Runtime."
        )
    copied = copied_with(network, lambda parameter: parameter)
    return with_layers(copied, _layer)


def _layer(module: Any) -> Int8Linear | None:
    """Return what takes the place of a layer, or None where it stays; children of nn.Linear may compute otherwise."""
    if type(module) not in LINEAR:
        return None
    weight = weight_of(module)
    return Int8Linear(weight.detach(), module.bias) if len(weight) >= _FEWEST_OUTPUTS else None
