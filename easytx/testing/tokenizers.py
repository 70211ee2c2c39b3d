"""Tiny tokenizers of every family, over the words of a small English corpus.

A word of `CORPUS` is one token. Any other word falls apart into shorter pieces, at worst characters or bytes.
A character that is not ASCII is unknown, except to the byte-level vocabularies, which know every byte.
The special tokens stand in the order of the published checkpoints, because some models count on it
(RoBERTa and MPNet count positions from a padding id of 1).
"""

from __future__ import annotations

import io
import json
import math
import re
import string
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
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
    trainers,
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

__all__ = ["CORPUS", "tiny_tokenizer"]

CORPUS: tuple[str, ...] = (
    "The film was a joy from the first scene to the last, and I would watch it again.",
    "A dull story, poor acting and a bad ending made this movie a waste of time.",
    "I love this book. I hate that song. It is good, it is great, it is fine.",
    "This was the worst meal we had all week; the soup was cold and the bread was old.",
    "The service is excellent, the staff are friendly and the rooms are clean.",
    "Not bad, but not very good either: the sound is terrible and the picture is awful.",
    "John lives in London and works for Acme in Paris.",
    "Mary Smith flew from New York to Berlin on Monday, 3 May 2021.",
    "Anna and Peter met in Rome before they moved to Madrid.",
    "The United Nations opened an office in Geneva near the old station.",
    "Who wrote the letter? Anna wrote it in 1999, when she was ten years old.",
    "Where does John live? He lives in a small house by the river in London.",
    "What is the capital of France? Paris is the capital and the largest city of France.",
    "How many people work there? About 250 people work at the bank.",
    "When did the train leave? The train left at six in the morning.",
    "My phone does not turn on, and the battery is hot. Please send me a new one.",
    "I want my money back: the order came late and the box was empty.",
    "You can change your password on the account page, then log in again.",
    "The price of oil fell by 5 percent while shares in the company rose.",
    "The team won the match after a long game in the rain.",
    "Scientists found water on the moon, a report in the paper said.",
    "The doctor gave her a drug against the pain, but it did not help.",
    "The cat sat on the mat. The dog ran after the ball.",
    'He said: "We do not know what they\'ll do next year (or why)."',
    "One, two, three, four, five, six, seven, eight, nine, ten!",
    "She is reading, walking, talking and working; he played, jumped and looked up.",
    "Is this sentence the same as that one? Yes, both mean the same thing. No, they differ.",
    "Happy people smile. Sad people cry. Angry people shout, and tired people sleep.",
    "Red, green, blue, black and white are colours; apples, pears and plums are fruit.",
    "If you have a question, write an e-mail to our team and we will answer it today.",
)

_SUFFIXES = ("able", "al", "ed", "en", "er", "es", "est", "ful", "ing", "ion", "less", "ly", "ment", "ness")
_CHARACTERS = tuple(string.ascii_letters + string.digits + string.punctuation)
_MAX_LENGTH = 512
_BYTE_LEVEL_SIZE = 2000

# Each turn between its speaker and the end token; then, where an answer is wanted, who is to give it.
_CHAT = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)


def _counts() -> Counter[str]:
    """Return how often each word, number and punctuation mark of the corpus occurs, cased and lowercased."""
    text = " ".join(CORPUS)
    counts = Counter(re.findall(r"\w+|[^\w\s]", text))
    counts.update(set(re.findall(r"\w+", text.lower())) - set(counts))
    return counts


@cache
def _word_pieces() -> tuple[str, ...]:
    """Return a WordPiece vocabulary: characters, continuations, words."""
    continued = [f"##{piece}" for piece in (*string.ascii_letters, *string.digits, *_SUFFIXES)]
    words = sorted(set(_counts()) - set(_CHARACTERS))
    return (*_CHARACTERS, *continued, *words)


@cache
def _unigrams() -> tuple[tuple[str, float], ...]:
    """Return a Unigram vocabulary: pieces with the logarithm of their share in the corpus."""
    counts = _counts()
    total = sum(counts.values())
    scores = {f"▁{word}": math.log(count / total) for word, count in sorted(counts.items())}
    rarest = min(scores.values())
    for piece in ("▁", *_SUFFIXES, *_CHARACTERS):
        # Below every whole word, so that a known word never falls apart.
        scores.setdefault(piece, rarest - 1.0)
    return tuple(scores.items())


@cache
def _byte_pairs() -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Return the tokens and merges of a byte-level vocabulary that has every word of the corpus whole."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=_BYTE_LEVEL_SIZE,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    # With a space before it, the first word of a line is learnt in both its forms.
    tokenizer.train_from_iterator([*CORPUS, *(f" {line}" for line in CORPUS)], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return tuple(tokens), tuple((left, right) for left, right in model["merges"])


@cache
def _word_ends() -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Return the tokens and merges of a vocabulary with every word of the corpus whole, its end marked."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=_BYTE_LEVEL_SIZE,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=sorted({*_CHARACTERS} - {*string.ascii_uppercase}),
        end_of_word_suffix="</w>",
    )
    alone = " ".join({*_CHARACTERS} - {*string.ascii_uppercase})
    tokenizer.train_from_iterator([*CORPUS, alone], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return tuple(tokens), tuple((left, right) for left, right in model["merges"])


def _ids(tokens: Iterable[str]) -> dict[str, int]:
    """Number the tokens as they come."""
    return {token: place for place, token in enumerate(tokens)}


def _scored(special: tuple[str, ...], *last: str) -> list[tuple[str, float]]:
    """Return the Unigram vocabulary between special tokens."""
    return [*((token, 0.0) for token in special), *_unigrams(), *((token, 0.0) for token in last)]


def _spaced(token: str) -> Any:
    """Return a special token that takes the space before it along, as published mask tokens do.

    The tokenizer classes accept an AddedToken, but declare a string: hence the loose type.
    """
    return AddedToken(token, lstrip=True, special=True)


def _bert() -> PreTrainedTokenizerBase:
    """Return the WordPiece tokenizer of BERT, DistilBERT and ELECTRA, lowercasing, with two token types."""
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    return BertTokenizer(vocab=_ids([*special, *_word_pieces()]), model_max_length=_MAX_LENGTH)


def _mpnet() -> PreTrainedTokenizerBase:
    """Return MPNet's: BERT's pieces between RoBERTa's special tokens."""
    special = ("<s>", "<pad>", "</s>", "[UNK]")
    return MPNetTokenizer(vocab=_ids([*special, *_word_pieces(), "<mask>"]), model_max_length=_MAX_LENGTH)


def _roberta() -> PreTrainedTokenizerBase:
    """Return the byte-level tokenizer of RoBERTa and Longformer."""
    tokens, merges = _byte_pairs()
    return RobertaTokenizer(
        vocab=_ids(["<s>", "<pad>", "</s>", "<unk>", *tokens, "<mask>"]),
        merges=list(merges),
        mask_token=_spaced("<mask>"),
        model_max_length=_MAX_LENGTH,
    )


def _modernbert() -> PreTrainedTokenizerBase:
    """Return ModernBERT's: byte-level, with BERT's special tokens behind all others."""
    # This architecture has no tokenizer class of its own: everything lies in tokenizer.json.
    special = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
    tokens, merges = _byte_pairs()
    ids = _ids([*tokens, *special])
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
    ids = _ids([*special, *(name for name in names if name not in special), "<pad>"])
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
    tokens, merges = _byte_pairs()
    return GPT2Tokenizer(vocab=_ids([*tokens, "<|endoftext|>"]), merges=list(merges), model_max_length=_MAX_LENGTH)


def _openai_gpt() -> PreTrainedTokenizerBase:
    """Return the first GPT's: pieces that say where a word ends, lowercasing, no token but one for the unknown."""
    tokens, merges = _word_ends()
    return OpenAIGPTTokenizer(vocab=_ids(["<unk>", *tokens]), merges=list(merges), model_max_length=_MAX_LENGTH)


def _blenderbot() -> PreTrainedTokenizerBase:
    """Return Blenderbot's: byte-level, with an end token only."""
    tokens, merges = _byte_pairs()
    return BlenderbotTokenizer(
        vocab=_ids(["<s>", "<pad>", "</s>", "<unk>", *tokens, "<mask>"]),
        merges=list(merges),
        model_max_length=_MAX_LENGTH,
    )


def _blenderbot_small() -> PreTrainedTokenizerBase:
    """Return the small Blenderbot's: pieces that say where a word goes on, lowercasing, no special token unasked."""
    tokens, merges = _word_ends()
    pieces = [token.removesuffix("</w>") if token.endswith("</w>") else f"{token}@@" for token in tokens]
    with tempfile.TemporaryDirectory() as folder:
        vocab, rules = Path(folder) / "vocab.json", Path(folder) / "merges.txt"
        special = ("__null__", "__start__", "__end__", "__unk__", "__newln__")
        vocab.write_text(json.dumps(_ids([*special, *pieces])), "utf-8")
        rules.write_text("\n".join(["#version: 0.2", *map(" ".join, merges), ""]), "utf-8")
        untyped: Any = BlenderbotSmallTokenizer
        tokenizer: PreTrainedTokenizerBase = untyped(str(vocab), str(rules), model_max_length=_MAX_LENGTH)
        return tokenizer


def _llama() -> PreTrainedTokenizerBase:
    """Return one as Llama 3 has it: byte-level, with a first token before each text, and a template for chats."""
    special = ("<|begin_of_text|>", "<|end_of_text|>")
    tokens, merges = _byte_pairs()
    ids = _ids([*tokens, *special])
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
            `DECODER_ARCHITECTURES` or `SEQ2SEQ_ARCHITECTURES`.

    Raises:
        ArgumentError: If there is no tiny tokenizer for this architecture.
    """
    if architecture not in _BUILDERS:
        raise ArgumentError(f"architecture must be one of {sorted(_BUILDERS)}, but is {architecture!r}.")
    return _BUILDERS[architecture]()
