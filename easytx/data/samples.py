"""Small data sets that come with the library."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pandas as pd

from easytx.config.fields import closest
from easytx.errors import ArgumentError

__all__ = ["load", "names"]


def names() -> list[str]:
    """Return the names of all data sets."""
    return sorted(_READERS)


def load(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a data set as `(train_df, eval_df)`.

    | name | task | columns |
    |---|---|---|
    | support_tickets | five classes | text, labels |
    | toots | six labels, any number a row | text, labels (lists of names) |
    | paraphrases | pairs, same meaning or not | text_a, text_b, labels (0 or 1) |
    | places | named entities | sentence_id, words, labels |
    | chats | replies in a conversation | personality, history, reply, candidates (the reply is the last) |
    | drawings | a question about a picture, nine answers | text, labels, images (bytes of PNG files) |
    | parallel | English to German | input_text, target_text |
    | manual | question answering, some unanswerable | id, question, context, answers, is_impossible |

    Args:
        name: One of `names()`.

    Raises:
        ArgumentError: If there is no such data set.
    """
    if name not in _READERS:
        raise ArgumentError(f"There is no sample '{name}'. There are {names()}.{closest(name, names())}")
    return _READERS[name]()


def _split(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    train, held_out = (frame[frame["split"] == split].drop(columns="split") for split in ("train", "eval"))
    return train.reset_index(drop=True), held_out.reset_index(drop=True)


def _text(file: str) -> str:
    return files("easytx.data").joinpath("samples", file).read_text("utf-8")


def _records(file: str) -> pd.DataFrame:
    return pd.DataFrame([json.loads(line) for line in _text(file).splitlines()])


def _csv(file: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(_text(file)))


def _drawings() -> tuple[pd.DataFrame, pd.DataFrame]:
    return _split(
        pd.read_parquet(io.BytesIO(files("easytx.data").joinpath("samples", "drawings.parquet").read_bytes()))
    )


def _places() -> tuple[pd.DataFrame, pd.DataFrame]:
    sentences = _records("places.jsonl")
    sentences.insert(1, "sentence_id", range(len(sentences)))
    return _split(sentences.explode(["words", "labels"], ignore_index=True).astype({"words": "str", "labels": "str"}))


def _chats() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return every second utterance as a reply to what is before it, beside replies of other conversations."""
    replies = [
        {
            "split": chat["split"],
            "personality": chat["personality"],
            "history": chat["utterances"][:place],
            "reply": chat["utterances"][place],
        }
        for chat in map(json.loads, _text("chats.jsonl").splitlines())
        for place in range(1, len(chat["utterances"]), 2)
    ]
    train, held_out = _split(pd.DataFrame(replies))
    for frame in (train, held_out):
        told = frame["reply"].tolist()
        # A conversation has at most four replies, so those this far apart are of others.
        others = [[told[(row + step) % len(told)] for step in (5, 9, 13, 17)] for row in range(len(told))]
        frame["candidates"] = [[*some, reply] for some, reply in zip(others, told, strict=True)]
    return train, held_out


def _manual() -> tuple[pd.DataFrame, pd.DataFrame]:
    questions: list[dict[str, Any]] = [
        {
            "split": article["split"],
            "id": question["id"],
            "question": question["question"],
            "context": paragraph["context"],
            "answers": {
                "text": [answer["text"] for answer in question["answers"]],
                "answer_start": [answer["answer_start"] for answer in question["answers"]],
            },
            "is_impossible": question["is_impossible"],
        }
        for article in json.loads(_text("manual.json"))["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    return _split(pd.DataFrame(questions))


_READERS: dict[str, Callable[[], tuple[pd.DataFrame, pd.DataFrame]]] = {
    "chats": _chats,
    "drawings": _drawings,
    "manual": _manual,
    "parallel": lambda: _split(_csv("parallel.csv")),
    "paraphrases": lambda: _split(_csv("paraphrases.csv")),
    "places": _places,
    "support_tickets": lambda: _split(_csv("support_tickets.csv")),
    "toots": lambda: _split(_records("toots.jsonl")),
}
