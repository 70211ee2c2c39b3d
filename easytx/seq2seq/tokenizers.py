"""Tokenizers: the one of the texts to write, tokens of one's own, and marks of languages (mBART, NLLB, M2M100)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from easytx.config.fields import closest
from easytx.config.model_args import ModelArgs
from easytx.core.loading import load_tokenizer, with_padding, without_recommendations
from easytx.core.saving import write_tokenizer
from easytx.errors import ArgumentError

_DECODER = "decoder"


def copied(tokenizer: Any) -> Any:
    """Return a copy of a tokenizer, so that the caller's stays as it is."""
    with without_recommendations():
        return copy.deepcopy(tokenizer)


def source_name(source: str) -> str:
    """Return where the tokenizer of the inputs is: with the model, or in a folder of its own, as of old."""
    apart = Path(source) / "encoder"
    return str(apart) if _is_tokenizer(apart) and not _is_tokenizer(Path(source)) else source


def target_name(source: str | None, decoder_source: str | None) -> str | None:
    """Return where the tokenizer of the texts to write is, or None where it is the one of the inputs.

    Args:
        source: Where the model, or its encoder, comes from.
        decoder_source: Where its decoder comes from, if that is put together with the encoder now.
    """
    if decoder_source is not None:
        return None if decoder_source == source else decoder_source
    folder = Path(source or "") / _DECODER
    return str(folder) if source is not None and _is_tokenizer(folder) else None


def load(name: str, *, options: Mapping[str, Any]) -> Any:
    """Return a tokenizer of texts to write."""
    return with_padding(load_tokenizer(name, options=options))


def write_target(both: tuple[Any, Any], folder: Path) -> None:
    """Write the tokenizer of the texts to write beside that of the inputs, where it is another one."""
    first, second = both
    if second is not first:
        write_tokenizer(second, folder / _DECODER)


def identity(both: tuple[Any, Any]) -> tuple[Any, ...]:
    """Return what tells the targets of a pair of tokenizers from those of others with the same first one."""
    first, second = both
    marks = (getattr(second, "src_lang", None), getattr(second, "tgt_lang", None))
    return marks if second is first else (*marks, *sorted(second.get_vocab().items()))


def add_tokens(tokenizer: Any, tokens: Any) -> None:
    """Add special tokens, given as a list or as transformers has them: by their role, or as a list of further ones."""
    if tokens is None:
        return
    if not isinstance(tokens, Mapping):
        tokenizer.add_tokens(list(tokens), special_tokens=True)
        return
    lists = {name: value for name, value in tokens.items() if isinstance(value, (list, tuple))}
    for value in lists.values():
        tokenizer.add_tokens(list(value), special_tokens=True)
    tokenizer.add_special_tokens({name: value for name, value in tokens.items() if name not in lists})


def set_languages(tokenizer: Any, args: ModelArgs) -> None:
    """Have a tokenizer mark inputs with `src_lang` and targets with `tgt_lang`; one without languages stays as it is.

    Raises:
        ArgumentError: If it does not know such a language.
    """
    if not marks_languages(tokenizer):
        return
    for name, code in {"src_lang": args.get("src_lang"), "tgt_lang": args.get("tgt_lang")}.items():
        # Other tokenizers have other codes than the ones of mBART, which are the defaults.
        if code is None or (name not in args.given() and not _knows(tokenizer, code)):
            continue
        if not _knows(tokenizer, code):
            raise ArgumentError(
                f"{name} is '{code}', which the tokenizer does not know.{closest(code, _codes(tokenizer))}"
            )
        setattr(tokenizer, name, code)
    if tokenizer.tgt_lang is None:
        some = ", ".join(map(repr, _codes(tokenizer)[:3]))
        raise ArgumentError(f"The tokenizer marks texts with their language. Set tgt_lang in args, such as {some}.")


def marks_languages(tokenizer: Any) -> bool:
    """Tell whether a tokenizer marks texts with their language."""
    return hasattr(tokenizer, "src_lang") and hasattr(tokenizer, "set_tgt_lang_special_tokens")


def language_start(tokenizer: Any) -> dict[str, int]:
    """Return the fields of a GenerationConfig that have texts written in the target language.

    Its mark starts the decoder where it stands at the end of a target, which is rotated for the decoder, and is the
    first token to be written where it stands at the beginning.
    """
    if not marks_languages(tokenizer) or not tokenizer.tgt_lang:
        return {}
    mark = _mark(tokenizer, tokenizer.tgt_lang)
    first = tokenizer(text_target="a")["input_ids"][0]
    return {"forced_bos_token_id" if first == mark else "decoder_start_token_id": mark}


def _mark(tokenizer: Any, code: str) -> int:
    """Return the id of a language's mark, or of the unknown token; M2M100 writes `__de__` for "de"."""
    token = getattr(tokenizer, "lang_code_to_token", {}).get(code, code)
    return int(tokenizer.convert_tokens_to_ids(token))


def _knows(tokenizer: Any, code: str) -> bool:
    codes = getattr(tokenizer, "lang_code_to_token", None)
    return code in codes if codes is not None else _mark(tokenizer, code) != tokenizer.unk_token_id


def _codes(tokenizer: Any) -> list[str]:
    """Return the codes of the languages that a tokenizer knows."""
    marks = (token for token in tokenizer.all_special_tokens if "_" in token)
    return sorted(getattr(tokenizer, "lang_code_to_token", None) or marks)


def _is_tokenizer(folder: Path) -> bool:
    return (folder / "tokenizer_config.json").is_file()
