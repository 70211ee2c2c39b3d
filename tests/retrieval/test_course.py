"""What changes while a retriever is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import TrainerCallback

from easytx import RetrievalModel
from easytx.errors import ArgumentError, DataError
from easytx.retrieval import course as course_of
from easytx.retrieval.course import RetrievalCourse
from easytx.retrieval.data import PairCollator
from easytx.testing import tiny_checkpoint

from .conftest import PASSAGES, QUERIES

Make = Callable[..., RetrievalModel]


class _Watch(TrainerCallback):
    """Remembers the course of a training, and what it does at each epoch and step."""

    def __init__(self, look: Callable[[Any, Any], Any], when: str = "on_epoch_end") -> None:
        self.seen: list[Any] = []
        self.look = look
        setattr(self, when, self._note)

    def _note(self, _: Any, state: Any, __: Any, **more: Any) -> None:
        self.seen.append(self.look(state, more))


@pytest.fixture
def courses(monkeypatch: pytest.MonkeyPatch) -> list[RetrievalCourse]:
    """Return the courses of the trainings that follow."""
    made: list[RetrievalCourse] = []
    original = RetrievalCourse.__init__

    def remember(self: RetrievalCourse, *given: Any) -> None:
        original(self, *given)
        made.append(self)

    monkeypatch.setattr(RetrievalCourse, "__init__", remember)
    return made


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the rows and labels of the batches that are made from here on."""
    made: list[dict[str, Any]] = []
    original = PairCollator.__call__

    def remember(self: PairCollator, features: Any) -> Any:
        batch = original(self, features)
        made.append(
            {"rows": [feature["row"] for feature in features], "labels": batch["labels"].numpy().copy(), **batch}
        )
        return batch

    monkeypatch.setattr(PairCollator, "__call__", remember)
    return made


# Negatives that are searched anew


def test_negatives_are_those_that_the_present_weights_find(
    make: Make, rows: pd.DataFrame, courses: list[RetrievalCourse], batches: list[dict[str, Any]]
) -> None:
    args = {"ance_training": True, "retrieve_n_docs": 1, "num_train_epochs": 3, "learning_rate": 1e-2}
    model = make(args=args, prediction_passages=PASSAGES)
    expected, found = [], []

    def look(*_: Any) -> None:
        (course,) = courses
        texts = course.passages["passages"].tolist()
        similarities = model.encode_queries(QUERIES) @ model.encode_passages(texts).T
        # The right passage of each row, which has its number, may be the best one.
        expected.append([[n for n in np.argsort(-row)[:2] if n != i] for i, row in enumerate(similarities)])
        found.append([[n for n in row if n != i] for i, row in enumerate(course.searched.found.tolist())])

    # When an epoch begins, the search has been made and no weight has changed since.
    watch = _Watch(look, "on_epoch_begin")
    model.train_model(rows, callbacks=[watch])
    assert [[set(row) for row in epoch] for epoch in found] == [[set(row) for row in epoch] for epoch in expected]
    assert found[0] != found[-1]
    # Each row has one of them as its hard negative.
    for batch in batches:
        kinds = batch["labels"][..., 0]
        assert (kinds == 2).sum(axis=1).tolist() == [1] * len(kinds)


def test_a_search_lasts_for_some_epochs(make: Make, rows: pd.DataFrame, courses: list[RetrievalCourse]) -> None:
    model = make(args={"ance_training": True, "ance_refresh_n_epochs": 2, "num_train_epochs": 5})
    watch = _Watch(lambda *_: courses[0].searched.found)
    model.train_model(rows, callbacks=[watch])
    first = [next(place for place, other in enumerate(watch.seen) if other is one) for one in watch.seen]
    assert first == [0, 0, 2, 2, 4]


def test_searched_negatives_join_those_of_the_rows(
    make: Make, rows: pd.DataFrame, batches: list[dict[str, Any]]
) -> None:
    args = {"ance_training": True, "hard_negatives": True, "include_triplet_loss": True}
    make(args=args, prediction_passages=PASSAGES).train_model(rows.assign(hard_negative=PASSAGES[4]))
    assert (batches[0]["labels"][..., 0] == 2).sum(axis=1).tolist() == [2] * 4
    with pytest.raises(DataError, match=r"^include_margin_mse_loss is set, but train_df has no hard negatives\."):
        make(args={"ance_training": True, "include_margin_mse_loss": True}).train_model(
            rows.assign(teacher_scores=[[1.0]] * 4)
        )


def test_a_training_with_a_search_can_be_resumed(make: Make, rows: pd.DataFrame, tmp_path: Path) -> None:
    args = {
        "ance_training": True,
        "tas_clustering": True,
        "num_train_epochs": 3,
        "save_model_every_epoch": True,
        "save_total_limit": None,
        "output_dir": str(tmp_path / "whole"),
    }
    whole = make(args=args, prediction_passages=PASSAGES)
    whole.train_model(rows)
    resumed = make(args=args, prediction_passages=PASSAGES)
    resumed.train_model(rows, resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value)


# Batches of like rows


def _many() -> pd.DataFrame:
    """Return rows of two kinds, one after the other: six about trains, six about soup."""
    texts = [("When did the train leave?", PASSAGES[2]), ("Who ate the soup?", PASSAGES[4])] * 6
    return pd.DataFrame(
        [(f"{query} {i}", f"{passage} {i}") for i, (query, passage) in enumerate(texts)],
        columns=["query_text", "gold_passage"],
    )


@pytest.mark.parametrize(
    ("args", "options"),
    [
        ({"cluster_queries": True}, {}),
        ({"cluster_concatenated": True}, {}),
        ({"tas_clustering": True, "faiss_clustering": False}, {}),
        ({}, {"clustered_training": True}),
    ],
    ids=lambda value: next(iter(value), ""),
)
def test_batches_are_of_like_rows(
    make: Make, batches: list[dict[str, Any]], args: dict[str, Any], options: dict[str, Any], tmp_path: Path
) -> None:
    model = make(args={**args, "kmeans_k": 2, "train_batch_size": 3, "pooling": "mean", "save_clustering_idx": True})
    model.train_model(_many(), output_dir=tmp_path / "model", **options)
    assert sorted(row for batch in batches for row in batch["rows"]) == list(range(12))
    assert [len({row % 2 for row in batch["rows"]}) for batch in batches] == [1] * 4
    written = json.loads((tmp_path / "model" / "clustering_idx" / "epoch_1.json").read_text("utf-8"))
    assert written["batches"] == [batch["rows"] for batch in batches]
    assert len(set(written["clusters"][::2])) == len(set(written["clusters"][1::2])) == 1


def test_without_clusters_batches_are_as_ever(make: Make, batches: list[dict[str, Any]]) -> None:
    make(args={"train_batch_size": 3}).train_model(_many())
    assert max(len({row % 2 for row in batch["rows"]}) for batch in batches) == 2


@pytest.mark.parametrize(
    ("args", "times"),
    [
        ({"cluster_queries": True}, 4),
        ({"cluster_queries": True, "cluster_every_n_epochs": 3}, 2),
        ({"tas_clustering": True}, 1),
    ],
)
def test_rows_are_clustered_anew(
    make: Make, monkeypatch: pytest.MonkeyPatch, batches: list[dict[str, Any]], args: dict[str, Any], times: int
) -> None:
    calls: list[int] = []
    original = course_of.clusters_of
    monkeypatch.setattr(course_of, "clusters_of", lambda *given, **more: calls.append(1) or original(*given, **more))
    make(args={**args, "kmeans_k": 2, "train_batch_size": 3, "num_train_epochs": 4}).train_model(_many())
    assert len(calls) == times
    epochs = [[batch["rows"] for batch in batches[start : start + 4]] for start in range(0, 16, 4)]
    assert all(epochs[0] != epoch for epoch in epochs[1:])


def test_a_curriculum_ends_with_like_rows(make: Make, batches: list[dict[str, Any]]) -> None:
    args = {"cluster_queries": True, "curriculum_clustering": True, "kmeans_k": 2, "pooling": "mean"}
    make(args={**args, "train_batch_size": 3, "num_train_epochs": 4}).train_model(_many())
    mixed = [max(len({row % 2 for row in batch["rows"]}) for batch in batches[at : at + 4]) for at in (0, 8, 12)]
    assert mixed == [2, 1, 1]


def test_another_encoder_says_what_is_alike(make: Make, checkpoint: Path, batches: list[dict[str, Any]]) -> None:
    model = make(args={"tas_clustering": True, "kmeans_k": 2, "train_batch_size": 3}, clustering_model=checkpoint)
    model.train_model(_many())
    assert [len({row % 2 for row in batch["rows"]}) for batch in batches] == [1] * 4


def test_topics_come_with_balanced_negatives(make: Make, rows: pd.DataFrame, batches: list[dict[str, Any]]) -> None:
    rows = rows.assign(hard_negative=[PASSAGES[4:6]] * 4, teacher_scores=[[3.0, 2.0, -1.0]] * 4)
    args = {"tas_clustering": True, "hard_negatives": True, "n_hard_negatives": 2, "include_margin_mse_loss": True}
    make(args={**args, "num_train_epochs": 6}).train_model(rows)
    scores = np.concatenate([batch["labels"][..., 1][batch["labels"][..., 0] == 2] for batch in batches])
    assert len(scores) == 24
    assert set(scores.tolist()) == {2.0, -1.0}


# Losses, dropout and steps


def test_the_loss_is_told_each_step(make: Make, rows: pd.DataFrame, courses: list[RetrievalCourse]) -> None:
    args = {"nll_lambda": 2.0, "nll_lambda_start_decay": 1, "nll_lambda_min": 1.0, "num_train_epochs": 5}
    watch = _Watch(lambda *_: courses[0].loss.weight, "on_step_end")
    make(args=args).train_model(rows, callbacks=[watch])
    assert watch.seen == pytest.approx([2.0, 2.0, 2 - 1 / 3, 2 - 2 / 3, 1.0])


def test_vectors_lose_some_of_their_numbers_while_training_alone(make: Make, rows: pd.DataFrame) -> None:
    model = make(args={"output_dropout": 0.5, "similarity_function": "cosine", "evaluate_during_training": True})
    network = model.model
    tokens = {"input_ids": torch.tensor([[2, 5, 3]] * 200), "attention_mask": torch.ones(200, 3, dtype=torch.long)}
    seen: list[torch.Tensor] = []

    def look(state: Any, more: Any) -> None:
        network.query_encoder.eval()
        with torch.no_grad():
            seen.append(network._encoded("query_encoder", *tokens.values()))
        network.query_encoder.train()

    held_out = rows.assign(query_text="Who?")
    model.train_model(rows, eval_df=held_out, callbacks=[_Watch(look, "on_step_end")])
    assert float((seen[0] == 0).float().mean()) == pytest.approx(0.5, abs=0.05)
    # What is left is of length 1, as cosine similarity wants it.
    torch.testing.assert_close(seen[0].norm(dim=1), torch.ones(200))
    assert not (network._encoded("query_encoder", *tokens.values()) == 0).any()
    # An evaluation while training has whole vectors.
    after = model.train_model(rows, eval_df=held_out, args={"learning_rate": 0.0}).training_details
    assert model.eval_model(held_out).result["eval_loss"] == pytest.approx(after["eval_loss"][-1], rel=1e-5)
    model.train_model(rows, eval_df=held_out, args={"output_dropout": 0.0}, callbacks=[_Watch(look, "on_step_end")])
    assert not (seen[-1] == 0).any()


@pytest.mark.parametrize("vocabulary", [None, 5000])
def test_batches_of_a_high_loss_have_more_steps(
    make: Make, rows: pd.DataFrame, checkpoint: Path, vocabulary: int | None
) -> None:
    # The gradients of large embeddings are sparse.
    name = checkpoint if vocabulary is None else tiny_checkpoint("large", vocab_size=vocabulary)
    steps: list[int] = []
    args = {
        "repeat_high_loss_n": 2,
        "moving_average_loss_count": 1,
        "num_train_epochs": 4,
        "train_batch_size": 2,
        "learning_rate": 0.0,
    }

    def look(state: Any, more: Any) -> None:
        optimizer = more["optimizer"].optimizer
        steps.append(int(next(iter(optimizer.state.values()))["step"]))

    result = make(name, args=args).train_model(rows, callbacks=[_Watch(look, "on_step_end")])
    assert result.global_step == len(steps) == 8
    more = np.diff([0, *steps])
    # The first batch has no mean to be above; of the others, those above the one before have two more at most.
    assert more[0] == 1
    assert 1 < max(more) <= 3


@pytest.mark.parametrize("tied", [False, True])
def test_what_is_trained_has_gradients(make: Make, rows: pd.DataFrame, tied: bool) -> None:
    # Otherwise several processes would wait for those of the pooler, which vectors are not made of.
    model = make(args={"tie_encoders": tied})

    def look(_: Any, more: Any) -> list[str]:
        return [name for name, p in more["model"].named_parameters() if p.requires_grad and p.grad is None]

    watch = _Watch(look, "on_pre_optimizer_step")
    model.train_model(rows, callbacks=[watch])
    assert watch.seen == [[]]


# What does not go together


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            {"repeat_high_loss_n": 1, "gradient_accumulation_steps": 2},
            "repeat_high_loss_n repeats a step of one batch: set gradient_accumulation_steps=1.",
        ),
        ({"kmeans_k": 0}, "kmeans_k must be a number of clusters, or -1 for as many as whole batches, but is 0."),
        (
            {"reranking_kl_div_loss": True},
            "reranking_kl_div_loss learns from a teacher that scores all passages of a batch: name one when the model "
            "is made, with teacher_model_name.",
        ),
    ],
)
def test_contradictions_are_said_before_weights_are_loaded(
    make: Make, rows: pd.DataFrame, args: dict[str, Any], message: str
) -> None:
    model = make(args=args)
    with pytest.raises(ArgumentError) as refused:
        model.train_model(rows)
    assert str(refused.value) == message
    assert model._model is None
