"""Tiny tokenizers of every family, over the words of a small English corpus.

A word of `CORPUS` is one token. Any other word falls apart into shorter pieces, at worst characters or bytes.
A character that is not ASCII is unknown, except to the byte-level vocabularies, which know every byte.
The special tokens stand in the order of the published checkpoints, because some models count on it
(RoBERTa and MPNet count positions from a padding id of 1).
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import (
    AlbertTokenizer,
    BertTokenizer,
    BlenderbotSmallTokenizer,
    BlenderbotTokenizer,
    ByT5Tokenizer,
    DebertaV2Tokenizer,
    GPT2Tokenizer,
    MBartTokenizer,
    MPNetTokenizer,
    OpenAIGPTTokenizer,
    PegasusTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    T5Tokenizer,
    XLMRobertaTokenizer,
)
from transformers.models.mbart.tokenization_mbart import FAIRSEQ_LANGUAGE_CODES

from easytx.core.loading import without_recommendations
from easytx.errors import ArgumentError, MissingExtraError
from easytx.testing.vocabularies import CORPUS, byte_pairs, numbered, unigrams, word_ends, word_pieces

__all__ = ["CORPUS", "tiny_tokenizer"]

_MAX_LENGTH = 512

# Each turn between its speaker and the end token; then, where an answer is wanted, who is to give it.
_CHAT = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)


def _scored(special: tuple[str, ...], *last: str) -> list[tuple[str, float]]:
    """Return the Unigram vocabulary between special tokens."""
    return [*((token, 0.0) for token in special), *unigrams(), *((token, 0.0) for token in last)]


def _spaced(token: str) -> Any:
    """Return a special token that takes the space before it along, as published mask tokens do.

    The tokenizer classes accept an AddedToken, but declare a string: hence the loose type.
    """
    return AddedToken(token, lstrip=True, special=True)


def _bert() -> PreTrainedTokenizerBase:
    """Return the WordPiece tokenizer of BERT, DistilBERT and ELECTRA, lowercasing, with two token types."""
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    return BertTokenizer(vocab=numbered([*special, *word_pieces()]), model_max_length=_MAX_LENGTH)


def _mpnet() -> PreTrainedTokenizerBase:
    """Return MPNet's: BERT's pieces between RoBERTa's special tokens."""
    special = ("<s>", "<pad>", "</s>", "[UNK]")
    return MPNetTokenizer(vocab=numbered([*special, *word_pieces(), "<mask>"]), model_max_length=_MAX_LENGTH)


def _roberta() -> PreTrainedTokenizerBase:
    """Return the byte-level tokenizer of RoBERTa and Longformer."""
    tokens, merges = byte_pairs()
    return RobertaTokenizer(
        vocab=numbered(["<s>", "<pad>", "</s>", "<unk>", *tokens, "<mask>"]),
        merges=list(merges),
        mask_token=_spaced("<mask>"),
        model_max_length=_MAX_LENGTH,
    )


def _modernbert() -> PreTrainedTokenizerBase:
    """Return ModernBERT's: byte-level, with BERT's special tokens behind all others."""
    # This architecture has no tokenizer class of its own: everything lies in tokenizer.json.
    special = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
    tokens, merges = byte_pairs()
    ids = numbered([*tokens, *special])
    backend = Tokenizer(models.BPE(vocab=ids, merges=list(merges)))
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([_spaced(token) if token == "[MASK]" else token for token in special])
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    untyped: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerBase = untyped(
        tokenizer_object=backend,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        mask_token=_spaced("[MASK]"),
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=_MAX_LENGTH,
    )
    return tokenizer


def _albert() -> PreTrainedTokenizerBase:
    """Return ALBERT's Unigram tokenizer, lowercasing."""
    special = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
    return AlbertTokenizer(vocab=_scored(special), mask_token=_spaced("[MASK]"), model_max_length=_MAX_LENGTH)


def _deberta_v2() -> PreTrainedTokenizerBase:
    """Return the Unigram tokenizer of DeBERTa-v2 and v3, cased."""
    special = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")
    return DebertaV2Tokenizer(vocab=_scored(special, "[MASK]"), model_max_length=_MAX_LENGTH)


def _xlm_roberta() -> PreTrainedTokenizerBase:
    """Return XLM-RoBERTa's Unigram tokenizer, cased."""
    special = ("<s>", "<pad>", "</s>", "<unk>")
    return XLMRobertaTokenizer(
        vocab=_scored(special, "<mask>"), mask_token=_spaced("<mask>"), model_max_length=_MAX_LENGTH
    )


def _mbart() -> PreTrainedTokenizerBase:
    """Return mBART's Unigram tokenizer, with its language codes before the mask token."""
    special = ("<s>", "<pad>", "</s>", "<unk>")
    vocab = _scored(special, *FAIRSEQ_LANGUAGE_CODES, "<mask>")
    return MBartTokenizer(vocab=vocab, model_max_length=_MAX_LENGTH)


def _pegasus() -> PreTrainedTokenizerBase:
    """Return Pegasus' Unigram tokenizer, with two of its 101 unknown tokens."""
    special = ("<pad>", "</s>", "<mask_1>", "<mask_2>", "<unk_2>", "<unk_3>", "<unk>")
    return PegasusTokenizer(vocab=_scored(special), offset=4, model_max_length=_MAX_LENGTH)


def _t5() -> PreTrainedTokenizerBase:
    """Return the Unigram tokenizer of T5 and mT5, with two of its 100 sentinels."""
    special = ("<pad>", "</s>", "<unk>")
    vocab = _scored(special, "<extra_id_1>", "<extra_id_0>")
    return T5Tokenizer(vocab=vocab, extra_ids=2, model_max_length=_MAX_LENGTH)


def _byt5() -> PreTrainedTokenizerBase:
    """Return ByT5's: a token a byte."""
    return ByT5Tokenizer(model_max_length=_MAX_LENGTH)


@cache
def _marian_files() -> tempfile.TemporaryDirectory[str]:
    """Return a folder with the model and the vocabulary of a SentencePiece tokenizer; it lasts as long as Python."""
    try:
        import sentencepiece
    except ImportError as error:
        raise MissingExtraError.of("sentencepiece", "generation", "Marian's tokenizer") from error
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        vocab_size=400,
        hard_vocab_limit=False,
        character_coverage=1.0,
        bos_id=-1,
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    names = [pieces.id_to_piece(i) for i in range(pieces.get_piece_size())]
    special = ("</s>", "<unk>")
    folder: tempfile.TemporaryDirectory[str] = tempfile.TemporaryDirectory(prefix="easytx-marian-")
    (Path(folder.name) / "source.spm").write_bytes(model.getvalue())
    ids = numbered([*special, *(name for name in names if name not in special), "<pad>"])
    (Path(folder.name) / "vocab.json").write_text(json.dumps(ids), "utf-8")
    return folder


def _marian() -> PreTrainedTokenizerBase:
    """Return Marian's SentencePiece tokenizer, with one vocabulary for both languages.

    Raises:
        MissingExtraError: If sentencepiece is not installed.
    """
    from transformers import MarianTokenizer

    kind: Any = MarianTokenizer
    folder = Path(_marian_files().name)
    spm = str(folder / "source.spm")
    with without_recommendations():
        tokenizer: PreTrainedTokenizerBase = kind(spm, spm, str(folder / "vocab.json"), model_max_length=_MAX_LENGTH)
        return tokenizer


def _gpt2() -> PreTrainedTokenizerBase:
    """Return GPT-2's: byte-level, with one special token, behind all others, and none to pad with."""
    tokens, merges = byte_pairs()
    return GPT2Tokenizer(vocab=numbered([*tokens, "<|endoftext|>"]), merges=list(merges), model_max_length=_MAX_LENGTH)


def _openai_gpt() -> PreTrainedTokenizerBase:
    """Return the first GPT's: pieces that say where a word ends, lowercasing, no token but one for the unknown."""
    tokens, merges = word_ends()
    return OpenAIGPTTokenizer(vocab=numbered(["<unk>", *tokens]), merges=list(merges), model_max_length=_MAX_LENGTH)


def _blenderbot() -> PreTrainedTokenizerBase:
    """Return Blenderbot's: byte-level, with an end token only."""
    tokens, merges = byte_pairs()
    return BlenderbotTokenizer(
        vocab=numbered(["<s>", "<pad>", "</s>", "<unk>", *tokens, "<mask>"]),
        merges=list(merges),
        model_max_length=_MAX_LENGTH,
    )


def _blenderbot_small() -> PreTrainedTokenizerBase:
    """Return the small Blenderbot's: pieces that say where a word goes on, lowercasing, no special token unasked."""
    tokens, merges = word_ends()
    pieces = [token.removesuffix("</w>") if token.endswith("</w>") else f"{token}@@" for token in tokens]
    with tempfile.TemporaryDirectory() as folder:
        vocab, rules = Path(folder) / "vocab.json", Path(folder) / "merges.txt"
        special = ("__null__", "__start__", "__end__", "__unk__", "__newln__")
        vocab.write_text(json.dumps(numbered([*special, *pieces])), "utf-8")
        rules.write_text("\n".join(["#version: 0.2", *map(" ".join, merges), ""]), "utf-8")
        untyped: Any = BlenderbotSmallTokenizer
        tokenizer: PreTrainedTokenizerBase = untyped(str(vocab), str(rules), model_max_length=_MAX_LENGTH)
        return tokenizer


def _llama() -> PreTrainedTokenizerBase:
    """Return one as Llama 3 has it: byte-level, with a first token before each text, and a template for chats."""
    special = ("<|begin_of_text|>", "<|end_of_text|>")
    tokens, merges = byte_pairs()
    ids = numbered([*tokens, *special])
    backend = Tokenizer(models.BPE(vocab=ids, merges=list(merges)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([*special])
    begin = special[0]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A {begin}:1 $B:1", special_tokens=[(begin, ids[begin])]
    )
    untyped: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerBase = untyped(
        tokenizer_object=backend,
        bos_token=begin,
        eos_token=special[1],
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=_MAX_LENGTH,
        chat_template=_CHAT,
    )
    return tokenizer


_BUILDERS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "albert": _albert,
    "bart": _roberta,
    "bert": _bert,
    "blenderbot": _blenderbot,
    "blenderbot-small": _blenderbot_small,
    "byt5": _byt5,
    "deberta-v2": _deberta_v2,
    "distilbert": _bert,
    "electra": _bert,
    "gpt2": _gpt2,
    "layoutlm": _bert,
    "lilt": _roberta,
    "llama": _llama,
    "longformer": _roberta,
    "marian": _marian,
    "mbart": _mbart,
    "modernbert": _modernbert,
    "mpnet": _mpnet,
    "mt5": _t5,
    "openai-gpt": _openai_gpt,
    "pegasus": _pegasus,
    "roberta": _roberta,
    "t5": _t5,
    "xlm-roberta": _xlm_roberta,
}


def tiny_tokenizer(architecture: str = "bert") -> PreTrainedTokenizerBase:
    """Return a new tokenizer of the class that `AutoTokenizer` gives this architecture.

    Args:
        architecture: A `model_type` as in a model's config, one of `easytx.testing.ARCHITECTURES`,
            `LAYOUT_ARCHITECTURES`, `DECODER_ARCHITECTURES` or `SEQ2SEQ_ARCHITECTURES`.

    Raises:
        ArgumentError: If there is no tiny tokenizer for this architecture.
    """
    if architecture not in _BUILDERS:
        raise ArgumentError(f"architecture must be one of {sorted(_BUILDERS)}, but is {architecture!r}.")
    return _BUILDERS[architecture]()
