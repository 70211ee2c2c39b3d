"""Passages that are found for texts and put before them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import easytx
from easytx.errors import ArgumentError, DataError
from easytx.language_modeling import LanguageModelingModel
from easytx.retrieval import RetrievalModel

from .conftest import ARGS

PASSAGES = ["the lamp is green", "hold the key", "tea is in the kitchen"]
SHORT = {"max_length": 4}


class Listed:
    """Finds the passages that it was told, and remembers what it was asked for."""

    def __init__(self, *found: list[str]) -> None:
        self.found, self.asked = list(found), []

    def predict(self, queries: list[str], **options: Any) -> list[list[str]]:
        self.asked.append((queries, options))
        return self.found[: len(queries)]


def model(gpt2: str, retrieval_model: Any, **args: Any) -> LanguageModelingModel:
    given = {**ARGS, "rag": True, **args}
    return LanguageModelingModel("causal", gpt2, args=given, retrieval_model=retrieval_model)


def test_passages_are_read_before_a_text(gpt2: str) -> None:
    frame = pd.DataFrame({"text": ["what colour", "where is tea"]}, index=["b", "a"])
    finds = Listed(["the lamp is green", "hold the key"], ["tea is here"])
    made = model(gpt2, finds)
    found = made.predict(frame, generation_args=SHORT)
    plain = LanguageModelingModel("causal", gpt2, args=ARGS).predict(
        ["Context: the lamp is green hold the key what colour", "Context: tea is here where is tea"], SHORT
    )
    assert finds.asked == [
        (["what colour", "where is tea"], {"prediction_passages": None, "passages_only": True}),
    ]
    responses, token_ids = found
    assert responses == plain.predictions
    assert str(token_ids) == str(plain.raw_outputs)
    assert found.passages == finds.found
    rows = found.to_frame()
    assert rows.index.tolist() == ["b", "a"]
    assert rows["text"].tolist() == ["what colour", "where is tea"]
    assert rows["passages"].tolist() == finds.found
    assert pickle.loads(pickle.dumps(found)).passages == found.passages


def test_queries_and_passages_of_a_call_are_handed_over(gpt2: str) -> None:
    finds = Listed(["a"], ["b"])
    made = model(gpt2, finds)
    made.predict(["x", "y"], SHORT, pd.Series(["colour", "tea"], index=[4, 2]), PASSAGES)
    made.predict("x", SHORT, "colour")
    both = [(["colour", "tea"], PASSAGES), (["colour"], None)]
    assert finds.asked == [(q, {"prediction_passages": p, "passages_only": True}) for q, p in both]


@pytest.mark.parametrize("form", ["object", "folder"])
def test_a_retrieval_model_finds_its_own_passages(form: str, bert: str, gpt2: str, tmp_path: Path) -> None:
    searches = RetrievalModel("bert", bert, prediction_passages=PASSAGES, args={**ARGS, "retrieve_n_docs": 1})
    if form == "folder":
        searches.save_model(tmp_path / "retrieval")
    made = model(gpt2, searches if form == "object" else tmp_path / "retrieval")
    found = made.predict(["hold the key", "the lamp is green"], SHORT)
    # Both encoders are one, so that a text is nearest to itself.
    assert found.passages == [["hold the key"], ["the lamp is green"]]
    given = made.predict(["hold the key"], SHORT, knowledge_dataset=["hold the door", "the moon"])
    assert given.passages == searches.predict(["hold the key"], ["hold the door", "the moon"], passages_only=True)


def test_texts_are_learnt_behind_the_passages_of_their_queries(gpt2: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from easytx.language_modeling import preparing

    read: list[list[str]] = []
    blocks_of = preparing.blocks_of
    monkeypatch.setattr(preparing, "blocks_of", lambda *given: read.append(given[1]) or blocks_of(*given))
    rows = pd.DataFrame({"text": ["tea is hot", "the key fits"], "rag_query": ["tea", "key"]})
    finds = Listed(["in the", "kitchen"], ["hold it"])
    made = model(gpt2, finds, num_train_epochs=1, no_save=True)
    made.train_model(rows)
    result = made.eval_model(rows)
    texts = ["Context: in the kitchen tea is hot", "Context: hold it the key fits"]
    assert read == [texts, texts]
    assert [queries for queries, _ in finds.asked] == [["tea", "key"]] * 2
    assert result.to_frame()["text"].tolist() == ["tea is hot", "the key fits"]
    message = "rag is set, but eval_df has no column 'rag_query', which says what to search for. It has ['text']."
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        made.eval_model(rows[["text"]])


def test_a_saved_model_opens_without_its_retrieval_model(gpt2: str, tmp_path: Path) -> None:
    model(gpt2, Listed(["a"])).save_model(tmp_path / "saved")
    again = easytx.load(tmp_path / "saved")
    message = (
        "rag is set, but nothing finds passages. Give retrieval_model to the constructor: a RetrievalModel or its "
        "folder; or set rag=False."
    )
    for run in (lambda: again.predict("x"), lambda: again.train_model(["x y z"])):
        with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
            run()
    assert again._model is None
    again.retrieval_model = Listed(["a"])
    assert again.predict("x", SHORT).passages == [["a"]]


CALLS: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (
        lambda gpt2: LanguageModelingModel("causal", gpt2, args=ARGS).predict("x", rag_queries=["x"]),
        ArgumentError,
        "'rag_queries' is for passages, which are looked up with rag=True in args only.",
    ),
    (
        lambda gpt2: LanguageModelingModel("causal", gpt2, args=ARGS).predict("x", knowledge_dataset=["x"]),
        ArgumentError,
        "'knowledge_dataset' is for passages, which are looked up with rag=True in args only.",
    ),
    (
        lambda gpt2: model(gpt2, 3),
        ArgumentError,
        "retrieval_model is 3, which finds no passages. Give a RetrievalModel, the folder of one, or an object with "
        "such a predict.",
    ),
    (
        lambda gpt2: model(gpt2, Listed(["a"])).predict(["x"], SHORT, ["a", "b"]),
        DataError,
        "rag_queries has 2 queries, but there are 1 texts. Give one for each text, or none to search for the texts "
        "themselves.",
    ),
    (
        lambda gpt2: model(gpt2, Listed(["a"]), stream_hf_datasets=True, max_steps=2).train_model("train.txt"),
        ArgumentError,
        "rag looks up passages before a training, and stream_hf_datasets reads rows while it runs.",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), CALLS)
def test_what_cannot_be_is_said(call: Callable[[Any], Any], kind: type[Exception], message: str, gpt2: str) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        call(gpt2)
