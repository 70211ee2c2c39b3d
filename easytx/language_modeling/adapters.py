"""LoRA adapters, by the library peft: a few weights that are trained beside those of a large model."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

import torch

from easytx.config.fields import closest
from easytx.config.model_args import ModelArgs
from easytx.core.loading import quiet
from easytx.errors import ArgumentError, CheckpointError, MissingExtraError
from easytx.language_modeling import four_bits

# Modules that an adapter replaces as a whole.
_SAVED_BESIDE = ".modules_to_save"


def check(args: ModelArgs, device: torch.device, *, adapter: bool) -> None:
    """Raise if what the arguments want of adapters cannot be had, before anything is loaded.

    Args:
        args: For `peft`, `qlora` and their options.
        device: Where the model is to be.
        adapter: Whether an adapter is to be opened.

    Raises:
        MissingExtraError: If peft or bitsandbytes is not installed.
        DeviceError: If `qlora` is asked for where there are no weights of 4 bits.
        ArgumentError: If options are given without what they are for, or are unknown.
    """
    wanted = args["peft"] or args["qlora"]
    if args["lora_config"] and not wanted:
        raise ArgumentError("lora_config is for adapters. Set peft=True in args, or leave it out.")
    if (wanted or adapter) and importlib.util.find_spec("peft") is None:
        raise MissingExtraError.of("peft", "peft", "An adapter")
    # peft imports bitsandbytes, which on some CPUs advises a package for a kernel that is not used here.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    if wanted:
        _check_fields(args)
    four_bits.check(args, device)


def check_base(args: ModelArgs, *, is_new: bool, has_parts: bool) -> None:
    """Raise if an adapter is asked for where it has nothing to lie over.

    Args:
        args: For `peft` and `qlora`.
        is_new: Whether the model's weights are new ones.
        has_parts: Whether it is an ELECTRA of generator and discriminator.

    Raises:
        ArgumentError: Saying so.
    """
    if not (args["peft"] or args["qlora"]) or not (is_new or has_parts):
        return
    what = "this model is a generator and a discriminator" if has_parts else "the weights of this model are new"
    raise ArgumentError(f"An adapter lies over one model that was saved, but {what}. Leave peft and qlora out.")


def are_in(network: Any) -> bool:
    """Tell whether a network of transformers has an adapter."""
    return bool(getattr(network, "_hf_peft_config_loaded", False))


def with_adapter(network: Any, args: ModelArgs, *, trained: str | None, seed: int) -> Any:
    """Return the network with an adapter, which alone is to be trained.

    Args:
        network: Of transformers.
        args: For the adapter's configuration.
        trained: A folder or hub name of an adapter; None for a new one.
        seed: New weights are drawn with it.
    """
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(seed)
        network.add_adapter(_configuration(network, args) if trained is None else _opened(trained))
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("lora_" in name or _SAVED_BESIDE in name)
        if parameter.requires_grad:
            # peft makes them of the type that weights of 4 bits compute in, whose steps would be too coarse to learn.
            parameter.data = parameter.data.float()
    if trained is not None:
        network.load_state_dict(weights_in(trained, network))
    place = Path(network.name_or_path)
    if place.is_dir():
        # The adapter will be opened from elsewhere.
        for configuration in network.peft_config.values():
            configuration.base_model_name_or_path = str(place.resolve())
    return network


def weights_in(place: str | Path, network: Any) -> dict[str, torch.Tensor]:
    """Return the weights of the network with those of an adapter, by the names of the network.

    Args:
        place: A folder or hub name.
        network: With an adapter of the same form.
    """
    from peft.utils import load_peft_weights

    saved = load_peft_weights(str(place), device="cpu")
    (adapter,) = network.active_adapters()
    return {
        name: saved.get(f"base_model.model.{name.replace(_SAVED_BESIDE, '').replace(f'.{adapter}', '')}", value)
        for name, value in network.state_dict().items()
    }


def merged(network: Any) -> Any:
    """Return the network with its adapter added to its weights, as one that never had any."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(network.named_modules()):
        if not isinstance(module, LoraLayer):
            continue
        layer: Any = module
        layer.merge(safe_merge=True)
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, layer.get_base_layer())
    network._hf_peft_config_loaded = False
    del network.peft_config
    return network.requires_grad_(True)


def _opened(place: str) -> Any:
    """Return the configuration of a trained adapter.

    Raises:
        CheckpointError: If it is no LoRA adapter.
    """
    from peft import LoraConfig, PeftConfig

    found = PeftConfig.from_pretrained(place)
    if not isinstance(found, LoraConfig):
        raise CheckpointError(f"'{place}' is a {found.peft_type} adapter. Only LoRA adapters can be opened.")
    found.inference_mode = False
    return found


def _configuration(network: Any, args: ModelArgs) -> Any:
    from peft import LoraConfig
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN
    from transformers.pytorch_utils import Conv1D

    options = dict(args["lora_config"])
    # Such layers, GPT-2's among them, have their weights the other way round; those of 4 bits know what they were.
    kinds = [getattr(module, "source_cls", type(module)) for module in network.modules()]
    options.setdefault("fan_in_fan_out", any(issubclass(kind, Conv1D) for kind in kinds))
    if network.config.model_type not in KNOWN:
        options.setdefault("target_modules", "all-linear")
    if not args["mlm"]:
        options.setdefault("task_type", "CAUSAL_LM")
    return LoraConfig(**options)


def _check_fields(args: ModelArgs) -> None:
    import peft

    for name, kind in (("lora_config", peft.LoraConfig), ("loftq_config", peft.LoftQConfig)):
        known = kind.__dataclass_fields__
        for field in args[name]:
            if field not in known:
                raise ArgumentError(
                    f"{name} sets '{field}', which peft.{kind.__name__} does not have.{closest(field, known)}"
                )
    if args["lora_config"].get("init_lora_weights") == "loftq" or "loftq_config" in args["lora_config"]:
        raise ArgumentError(
            "lora_config asks for LoftQ, which has arguments of its own. Set qlora=True and "
            "loftq_config={'loftq_iter': 1}."
        )
