"""Weights of 4 bits, by the library bitsandbytes: an adapter is trained over them, and they are left as they are."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Iterator
from typing import Any

import torch

from easytx.config.model_args import ModelArgs
from easytx.core import loading
from easytx.errors import ArgumentError, DeviceError, MissingExtraError, UnsupportedError

# Where bitsandbytes has kernels that easytx is tested with.
_DEVICES = ("cpu", "cuda")

# Weights that share a scale. bitsandbytes 0.50 takes the scales of wrong blocks on CPUs with AVX-512 where a row ends
# within a block: weights of shape (32, 32) came out 37 % away from what they were, with the right scales 9 %.
_BLOCK = 64

# What a state has of a weight in 4 bits besides the weight itself; it belongs to the weight, and is never loaded.
_STATISTICS = (".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", ".quant_state.")


def check(args: ModelArgs, device: torch.device) -> None:
    """Raise if weights of 4 bits are asked for and cannot be had.

    Args:
        args: For `qlora`, `loftq_config` and `loftq_bits`.
        device: Where the model is to be.

    Raises:
        ArgumentError: If an option of LoftQ is one that 4 bits cannot have.
        DeviceError: If there are no 4 bits on this device.
        MissingExtraError: If bitsandbytes is not installed.
    """
    if not args["qlora"]:
        if args["loftq_config"]:
            raise ArgumentError(
                "loftq_config has an adapter make up for what weights lose in 4 bits. Set qlora=True in args, or leave "
                "it out."
            )
        return
    if device.type not in _DEVICES:
        raise DeviceError(
            f"qlora holds the weights in 4 bits, on CUDA or a CPU, but the device is {device}. Pass use_cuda=False, or "
            "use peft=True alone, which trains an adapter over weights of full precision."
        )
    if args["loftq_config"]:
        wanted = {"loftq_bits": args["loftq_bits"], "loftq_iter": 1, **args["loftq_config"]}
        for name, only in (("loftq_bits", 4), ("loftq_iter", 1)):
            if wanted[name] != only:
                raise ArgumentError(
                    f"{name} is {wanted[name]}, but the weights under the adapter are those of the model in 4 bits, "
                    f"rounded once. Set {name}={only}."
                )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError.of("bitsandbytes", "qlora", "qlora")


def options(args: ModelArgs, config: Any, device: torch.device, dtype: torch.dtype | None) -> dict[str, Any]:
    """Return what `from_pretrained` needs to hold the weights in 4 bits; empty without `qlora`.

    Args:
        args: For `qlora` and `nf4`.
        config: The model's; where it says that the checkpoint is of few bits already, they stay as they are.
        device: Where the weights are rounded, and stay.
        dtype: Of mixed precision; products are computed in it, or in float32 where it is None.
    """
    if not args["qlora"]:
        return {}
    where = {"device_map": {"": device}}
    if getattr(config, "quantization_config", None) is not None:
        return where
    from transformers import BitsAndBytesConfig

    settings: Any = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4" if args["nf4"] else "fp4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype or torch.float32,
    )
    return {"quantization_config": settings, **where}


def are_in(network: Any) -> bool:
    """Tell whether a network of transformers has weights of 4 bits."""
    return bool(getattr(network, "is_loaded_in_4bit", False))


def steadied(network: Any) -> Any:
    """Return the network, whose weights of 4 bits then stay as they are, whatever is computed with them.

    On CPUs with AVX512-BF16, bitsandbytes would reorder the weights and round their scales at the first prediction,
    and a training that goes on from there would get no gradient through them.

    Raises:
        UnsupportedError: If a layer is one whose weights are not read as they were written.
    """
    for name, layer in _layers(network):
        if layer.weight.device.type == "cpu" and layer.in_features % _BLOCK:
            raise UnsupportedError(
                f"On a CPU, bitsandbytes reads weights of 4 bits aright only where a layer has a multiple of {_BLOCK} "
                f"inputs, but '{name}' has {layer.in_features}. Train on CUDA, or use peft=True alone, which trains an "
                "adapter over weights of full precision."
            )
        layer.support_avx512bf16_for_cpu = False
    network.register_load_state_dict_post_hook(_without_statistics)
    return network


@torch.no_grad()
def start_by_loftq(network: Any, whole: Any) -> None:
    """Have a new adapter make up for what the weights have lost, as far as its rank goes.

    Of the difference between a weight and its 4 bits it takes the largest singular values (Li et al. 2023, "LoftQ",
    algorithm 1 with one step).

    Args:
        network: With weights of 4 bits and a new adapter.
        whole: The same network with the weights as they were, on the CPU.
    """
    (adapter,) = network.active_adapters()
    for name, layer in _layers(network):
        if not name.endswith(".base_layer"):
            continue
        lora = network.get_submodule(name.removesuffix(".base_layer"))
        held = _dequantised(layer)
        lost = _upright(whole.get_submodule(name.removesuffix(".base_layer"))).to(held) - held
        outer, inner = _nearest_factors(lost / lora.scaling[adapter], lora.r[adapter])
        lora.lora_B[adapter].weight[:, : outer.shape[1]] = outer
        lora.lora_A[adapter].weight[: len(inner)] = inner


def in_full(network: Any, auto_class: str) -> Any:
    """Return the same network with the weights in float32 that its 4 bits stand for, and with the same adapter."""
    from transformers.pytorch_utils import Conv1D

    config = copy.deepcopy(network.config)
    vars(config).pop("quantization_config", None)
    plain = loading.new_network(auto_class, config, seed=0)
    turned = {name for name, module in plain.named_modules() if isinstance(module, Conv1D)}
    (adapter,) = network.peft_config.values()
    adapter.fan_in_fan_out = bool(turned)
    plain.add_adapter(adapter)
    state = {name: value for name, value in network.state_dict().items() if not _is_statistic(name)}
    for name, layer in _layers(network):
        held = _dequantised(layer)
        state[f"{name}.weight"] = held.T if name.removesuffix(".base_layer") in turned else held
    plain.load_state_dict(state)
    plain.name_or_path = network.name_or_path
    if hasattr(network, "generation_config"):
        plain.generation_config = network.generation_config
    return plain.to(network.device).eval()


def _layers(network: Any) -> Iterator[tuple[str, Any]]:
    """Yield the layers whose weights are in 4 bits, with their names."""
    from bitsandbytes.nn.modules import Linear4bit

    for name, module in network.named_modules():
        if isinstance(module, Linear4bit):
            yield name, module


def _dequantised(layer: Any) -> torch.Tensor:
    """Return the weight that 4 bits stand for, float32 of shape (outputs, inputs)."""
    from bitsandbytes.functional import dequantize_4bit

    held: torch.Tensor = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    return held.float()


def _upright(layer: Any) -> torch.Tensor:
    """Return a layer's weight, of shape (outputs, inputs)."""
    from transformers.pytorch_utils import Conv1D

    weight: torch.Tensor = layer.weight
    return weight.T if isinstance(layer, Conv1D) else weight


def _nearest_factors(matrix: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two factors whose product is the nearest of a rank to a matrix, and which share its singular values alike.

    By the eigenvectors of the matrix times itself turned, which take an eighth of the time of its singular values.

    Args:
        matrix: Of shape (outputs, inputs).
        rank: At most.
    """
    if len(matrix) > matrix.shape[1]:
        inner, outer = _nearest_factors(matrix.T, rank)
        return outer.T, inner.T
    outer = torch.linalg.eigh(matrix @ matrix.T).eigenvectors[:, -rank:]
    inner = outer.T @ matrix
    roots = inner.norm(dim=1).sqrt().clamp(min=torch.finfo(matrix.dtype).tiny)
    return outer * roots, inner / roots[:, None]


def _is_statistic(name: str) -> bool:
    return any(f".weight{kind}" in name for kind in _STATISTICS)


def _without_statistics(_: Any, incompatible: Any) -> None:
    """Take out of the report of `load_state_dict` what was not to be loaded."""
    incompatible.unexpected_keys[:] = [name for name in incompatible.unexpected_keys if not _is_statistic(name)]
