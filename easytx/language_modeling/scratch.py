"""New models: a vocabulary learnt from files, and a configuration without weights."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from easytx.config.fields import closest
from easytx.config.model_args import ModelArgs
from easytx.core.loading import canonical_type, changed
from easytx.errors import ArgumentError
from easytx.language_modeling.args import SPECIAL_TOKENS
from easytx.language_modeling.reading import lines_of, paths_in

_BERTS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}

# Characters that a vocabulary of word pieces begins with, at most.
_MOST_CHARACTERS = 1000

# Texts that the tokenizers library takes at a time.
_BATCH = 1000


def is_architecture(name: str | None) -> bool:
    """Tell whether transformers knows this model type."""
    from transformers import CONFIG_MAPPING

    return name is not None and canonical_type(name) in CONFIG_MAPPING


def new_config(model_type: str | None, changes: Mapping[str, Any]) -> Any:
    """Return the configuration of a new model.

    Args:
        model_type: Its architecture.
        changes: Fields to set in it.

    Raises:
        ArgumentError: If transformers does not know the architecture, or it has no such field.
    """
    from transformers import CONFIG_MAPPING, AutoConfig

    if model_type is None or not is_architecture(model_type):
        known = [] if model_type is None else [*CONFIG_MAPPING]
        raise ArgumentError(
            "LanguageModelingModel without a model name makes a new model, and needs an architecture of transformers "
            f"as model_type, such as 'bert' or 'gpt2', but has {model_type!r}.{closest(str(model_type), known)}"
        )
    return changed(AutoConfig.for_model(canonical_type(model_type)), changes)


def new_tokenizer(train_files: Any, *, model_type: str, args: ModelArgs, masked: bool) -> Any:
    """Return a tokenizer with a vocabulary learnt from files: word pieces for BERT and its kin, else pairs of bytes.

    Args:
        train_files: A path or a list of paths.
        model_type: The architecture that it is for.
        args: For `vocab_size`, `min_frequency`, `special_tokens` and how texts are normalised.
        masked: Whether texts need a token at their beginning and end, as models of masked tokens expect.

    Raises:
        ArgumentError: If there are no files, or `vocab_size` is not set.
        DataError: If a file is not there or cannot be read.
    """
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    paths = None if train_files is None else paths_in(train_files)
    if not paths:
        raise ArgumentError(
            "LanguageModelingModel without a model name makes a new model, and learns its vocabulary from text files. "
            "Give train_files, a path or a list of paths; or a tokenizer by tokenizer_name. To start from a model "
            f"that is called '{model_type}', name it as the second argument."
        )
    if args["vocab_size"] is None:
        raise ArgumentError("A new vocabulary needs a size. Set vocab_size in args, for example vocab_size=30000.")

    def texts() -> Iterator[list[str]]:
        return _batches(lines_of(paths, args, name="train_files"))

    kind = TOKENIZER_MAPPING_NAMES.get(model_type)
    if kind == "BertTokenizer":
        tokenizer = _word_pieces(texts, args)
    else:
        tokenizer = _byte_pairs(texts(), args, kind, masked=masked)
    return tokenizer


def fit_config(config: Any, tokenizer: Any) -> None:
    """Set what a new model's configuration has to know of its tokenizer."""
    config.vocab_size = len(tokenizer)
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.cls_token_id if begin is None else begin,
        "eos_token_id": tokenizer.sep_token_id if end is None else end,
    }
    for name, number in ids.items():
        if hasattr(config, name) and number is not None:
            setattr(config, name, number)


def write_tokenizer_to(tokenizer: Any, folder: str | Path) -> None:
    """Write a tokenizer into a folder of its own."""
    from easytx.core.saving import write_tokenizer

    Path(folder).mkdir(parents=True, exist_ok=True)
    write_tokenizer(tokenizer, Path(folder))


def _word_pieces(texts: Callable[[], Iterator[list[str]]], args: ModelArgs) -> Any:
    """Return BERT's tokenizer."""
    from transformers import BertTokenizer

    more = [token for token in args["special_tokens"] if token not in SPECIAL_TOKENS and token not in _BERTS.values()]
    backend = Tokenizer(models.WordPiece(unk_token=_BERTS["unk"]))
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=args["clean_text"],
        handle_chinese_chars=args["handle_chinese_chars"],
        strip_accents=args["strip_accents"],
        lowercase=args.do_lower_case,
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    letters = _characters(texts(), backend.normalizer)
    # The library numbers what continues a word as it comes upon it, in an order that varies, and with it the
    # vocabulary. Named beforehand, they have their numbers.
    first = [*_BERTS.values(), *more, *(f"##{letter}" for letter in letters)]
    options = _trainer_options(args, first) | {"initial_alphabet": letters, "limit_alphabet": _MOST_CHARACTERS}
    backend.train_from_iterator(texts(), trainers.WordPieceTrainer(continuing_subword_prefix="##", **options))
    tokenizer = BertTokenizer(
        vocab=backend.get_vocab(),
        do_lower_case=args.do_lower_case,
        strip_accents=args["strip_accents"],
        tokenize_chinese_chars=args["handle_chinese_chars"],
        extra_special_tokens=more,
    )
    tokenizer.backend_tokenizer.normalizer = backend.normalizer
    return tokenizer


def _byte_pairs(texts: Iterator[list[str]], args: ModelArgs, kind: str | None, *, masked: bool) -> Any:
    """Return a byte-level tokenizer of the class that this architecture has, where that class is such a one."""
    import transformers

    special = list(args["special_tokens"])
    if len(special) < len(SPECIAL_TOKENS):
        raise ArgumentError(
            f"special_tokens must begin with five tokens, for begin, padding, end, unknown and mask, but is {special}."
        )
    begin, pad, end, unknown, mask, *more = special
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), **_trainer_options(args, special)
    )
    backend.train_from_iterator(texts, trainer)
    names: dict[str, Any] = {"bos_token": begin, "pad_token": pad, "eos_token": end, "unk_token": unknown}
    names["extra_special_tokens"] = more
    if masked:
        names |= {"mask_token": mask, "cls_token": begin, "sep_token": end}
    if kind in ("RobertaTokenizer", "GPT2Tokenizer") and masked == (kind == "RobertaTokenizer"):
        vocabulary, merges = _parts_of(backend)
        return getattr(transformers, kind)(vocab=vocabulary, merges=merges, **names)
    if masked:
        ends = [(token, backend.token_to_id(token)) for token in (begin, end)]
        backend.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A {end}", pair=f"{begin} $A {end} {end} $B {end}", special_tokens=ends
        )
    untyped: Any = transformers.PreTrainedTokenizerFast
    return untyped(tokenizer_object=backend, **names)


def _characters(texts: Iterator[list[str]], normalizer: Any) -> list[str]:
    """Return the most frequent characters of texts, in an order of their own."""
    counts: Counter[str] = Counter()
    for text in chain.from_iterable(texts):
        counts.update(normalizer.normalize_str(text))
    common = sorted(counts, key=lambda letter: (-counts[letter], letter))[:_MOST_CHARACTERS]
    return sorted(letter for letter in common if not letter.isspace())


def _trainer_options(args: ModelArgs, special: Sequence[str]) -> dict[str, Any]:
    return {
        "vocab_size": args["vocab_size"],
        "min_frequency": args["min_frequency"],
        "special_tokens": list(special),
        "show_progress": False,
    }


def _parts_of(backend: Tokenizer) -> tuple[dict[str, int], list[Any]]:
    model = json.loads(backend.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
