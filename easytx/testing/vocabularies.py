"""The words and pieces that tiny tokenizers know: those of a small English corpus."""

from __future__ import annotations

import json
import math
import re
import string
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

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
_BYTE_LEVEL_SIZE = 2000


def _counts() -> Counter[str]:
    """Return how often each word, number and punctuation mark of the corpus occurs, cased and lowercased."""
    text = " ".join(CORPUS)
    counts = Counter(re.findall(r"\w+|[^\w\s]", text))
    counts.update(set(re.findall(r"\w+", text.lower())) - set(counts))
    return counts


@cache
def word_pieces() -> tuple[str, ...]:
    """Return a WordPiece vocabulary: characters, continuations, words."""
    continued = [f"##{piece}" for piece in (*string.ascii_letters, *string.digits, *_SUFFIXES)]
    words = sorted(set(_counts()) - set(_CHARACTERS))
    return (*_CHARACTERS, *continued, *words)


@cache
def unigrams() -> tuple[tuple[str, float], ...]:
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
def byte_pairs() -> tuple[tuple[str, ...], tuple[Any, ...]]:
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
def word_ends() -> tuple[tuple[str, ...], tuple[Any, ...]]:
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


def numbered(tokens: Iterable[str]) -> dict[str, int]:
    """Number the tokens as they come."""
    return {token: place for place, token in enumerate(tokens)}
