"""What the classes that write texts share, shown on a tiny T5 and a tiny BART."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from easytx import Seq2SeqModel, T5Model
from easytx.core import running
from easytx.errors import ArgumentError
from easytx.testing import CORPUS, tiny_checkpoint
from easytx.training import generation

ARGS = {"silent": True, "manual_seed": 3, "fp16": False, "no_save": True, "max_length": 6}
FRAME = pd.DataFrame(
    {"input_text": CORPUS[:7], "target_text": [" ".join(CORPUS[row].split()[: 1 + row]) for row in range(7)]},
    index=[f"row {row}" for row in range(7)],
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("generative") / "t5", "t5")


@pytest.fixture
def model(folder: Path) -> Callable[..., T5Model]:
    return lambda **args: T5Model("t5", folder, args={**ARGS, **args})


def test_the_loss_is_a_mean_over_the_tokens_of_true_texts(model: Callable[..., T5Model]) -> None:
    made = model()
    total, tokens = 0.0, 0
    for text, target in zip(FRAME["input_text"], FRAME["target_text"], strict=True):
        ids, labels = (torch.tensor([made.tokenizer(t)["input_ids"]]) for t in (text, target))
        with torch.no_grad():
            logits = made.model(input_ids=ids, labels=labels).logits
        total += float(F.cross_entropy(logits[0], labels[0], reduction="sum"))
        tokens += labels.numel()
    for batch in (1, 100):
        assert model(eval_batch_size=batch).eval_model(FRAME)["eval_loss"] == pytest.approx(total / tokens, rel=1e-4)


def test_no_more_than_two_numbers_a_row_are_kept_of_the_logits(
    model: Callable[..., T5Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = model()
    data = made.prepared(FRAME, name="eval_df", split="eval", renames={})
    outputs = made.outputs(data, show=False)
    assert [value.shape for value in outputs.values] == [(2,)] * len(FRAME)
    shapes: list[Any] = []
    real = generation.row_losses
    monkeypatch.setattr(
        generation, "row_losses", lambda logits, labels, **kw: shapes.append(logits.shape) or real(logits, labels, **kw)
    )
    monkeypatch.setattr(running, "_LOGITS", 60 * len(made.tokenizer))
    made.eval_model(FRAME)
    assert len(shapes) > 2
    assert all(shape.numel() <= 60 * len(made.tokenizer) for shape in shapes)


def test_without_texts_there_is_a_loss_alone(model: Callable[..., T5Model]) -> None:
    evaluation = model().eval_model(FRAME)
    assert set(evaluation) == {"eval_loss"}
    frame = evaluation.to_frame()
    assert "prediction" not in frame
    assert frame.index.tolist() == FRAME.index.tolist()
    assert (frame["loss"] > 0).all()


def test_texts_are_scored_where_that_is_asked_for(model: Callable[..., T5Model]) -> None:
    made = model(evaluate_generated_text=True)
    evaluation = made.eval_model(FRAME)
    assert set(evaluation) == {"eval_loss", "exact_match", "bleu", "rouge1", "rouge2", "rougeL"}
    assert evaluation == made.results == evaluation.result
    predicted = made.predict(FRAME["input_text"])
    assert evaluation.to_frame()["prediction"].tolist() == predicted
    right = FRAME.assign(target_text=predicted)
    scores = made.eval_model(right)
    assert scores["exact_match"] == 1.0
    assert scores["bleu"] == pytest.approx(100)
    assert set(model(evaluate_generated_text=True, text_metrics=["bleu"]).eval_model(FRAME)) == {"eval_loss", "bleu"}


def test_custom_metrics_are_functions_of_texts(model: Callable[..., T5Model]) -> None:
    seen: list[Any] = []

    def pairs(truth: Any, predictions: Any) -> int:
        seen.append((list(truth), list(predictions)))
        return len(truth)

    made = model()
    result = made.eval_model(FRAME, pairs=pairs)
    # They need texts, so texts are written; the other scores were not asked for.
    assert set(result) == {"eval_loss", "pairs"}
    assert seen == [(FRAME["target_text"].tolist(), list(made.predict(FRAME["input_text"])))]
    args = {"evaluate_during_training": True}
    held_out = FRAME.iloc[:2].assign(input_text=["a", "b"])
    details = made.train_model(FRAME, eval_data=held_out, pairs=pairs, args=args).training_details
    assert details["pairs"] == [2]


def test_results_of_earlier_calls_do_not_stay(model: Callable[..., T5Model]) -> None:
    made = model()
    made.eval_model(FRAME, pairs=lambda truth, _: len(truth))
    assert set(made.eval_model(FRAME)) == {"eval_loss"} == set(made.results)


def test_one_text_a_row_is_a_list_of_texts(model: Callable[..., T5Model]) -> None:
    prediction = model().predict(FRAME["input_text"])
    assert isinstance(prediction, list)
    assert prediction.predictions == prediction
    assert all(isinstance(text, str) for text in prediction)
    frame = prediction.to_frame()
    assert frame["prediction"].tolist() == prediction
    assert frame.index.tolist() == FRAME.index.tolist()
    assert [len(row) for row in prediction.raw_outputs] == [1] * len(FRAME)
    assert all(ids.dtype == np.int32 for row in prediction.raw_outputs for ids in row)


@pytest.mark.parametrize("search", [{"num_beams": 3}, {"do_sample": True}])
def test_several_texts_a_row_are_lists_of_lists(model: Callable[..., T5Model], search: dict[str, Any]) -> None:
    made = model(num_return_sequences=3, evaluate_generated_text=True, **search)
    prediction = made.predict(CORPUS[:4])
    assert [len(texts) for texts in prediction] == [3] * 4
    assert all(isinstance(text, str) for texts in prediction for text in texts)
    # An evaluation compares one text with one.
    assert all(isinstance(text, str) for text in made.eval_model(FRAME).to_frame()["prediction"])


def test_what_is_sampled_is_decided_by_the_seed(model: Callable[..., T5Model]) -> None:
    first = model(do_sample=True, manual_seed=1).predict(CORPUS[:6])
    assert model(do_sample=True, manual_seed=1).predict(CORPUS[:6]) == first
    assert model(do_sample=True, manual_seed=2).predict(CORPUS[:6]) != first


def test_special_tokens_are_left_out_unless_wanted(model: Callable[..., T5Model]) -> None:
    made = model(skip_special_tokens=False)
    end = made.tokenizer.eos_token_id
    assert made.texts([[np.array([5, end])]]) == [[made.tokenizer.decode([5, end])]]
    assert "</s>" in made.texts([[np.array([5, end])]])[0][0]
    assert "</s>" not in model().texts([[np.array([5, end])]])[0][0]


def test_what_cannot_be_computed_is_said_before_training(model: Callable[..., T5Model]) -> None:
    made = model(num_return_sequences=2)
    with pytest.raises(ArgumentError, match=r"^num_return_sequences is 2, but "):
        made.predict(["a"])
    made = model(evaluate_generated_text=True, evaluate_during_training=True, text_metrics=["meteor"])
    with pytest.raises(
        ArgumentError, match=r"^text_metrics must be of exact_match, f1, bleu, rouge, but has \['meteor'\]"
    ):
        made.train_model(FRAME, eval_data=FRAME.assign(input_text="a"))
    assert made._model is None


def test_mistakes_are_shown_worst_first(model: Callable[..., T5Model]) -> None:
    made = model(evaluate_generated_text=True)
    data = made.prepared(FRAME, name="eval_df", split="eval", renames={})
    _, answers = made.evaluated(data, {}, show=False)
    judged = made.judged(answers, data)
    assert list(judged.frame) == ["input_text", "truth", "prediction", "loss"]
    assert judged.wrong.tolist() == (judged.frame["truth"] != judged.frame["prediction"]).tolist()
    assert judged.worst()["loss"].is_monotonic_decreasing
    silent = model()
    data = silent.prepared(FRAME, name="eval_df", split="eval", renames={})
    judged = silent.judged(silent.evaluated(data, {}, show=False)[1], data)
    assert "prediction" not in judged.frame
    assert not judged.wrong.any()


def test_smoothed_labels_are_another_loss(model: Callable[..., T5Model]) -> None:
    plain, smooth = (model(label_smoothing_factor=factor).eval_model(FRAME)["eval_loss"] for factor in (0.0, 0.5))
    assert plain != pytest.approx(smooth, rel=1e-3)


def test_accumulated_steps_are_those_of_one_batch(model: Callable[..., T5Model]) -> None:
    # Eight rows of one length, so that a mean of means is the mean.
    frame = pd.DataFrame({"input_text": CORPUS[:8], "target_text": "a film"})
    states = []
    for size, steps in ((8, 1), (2, 4)):
        args = {"config": {"dropout_rate": 0.0}, "optimizer": "AdamW", "max_grad_norm": 0.0}
        made = model(train_batch_size=size, gradient_accumulation_steps=steps, **args)
        made.train_model(frame)
        states.append(made.model.state_dict()["shared.weight"])
    torch.testing.assert_close(states[0], states[1], rtol=1e-3, atol=1e-5)


def test_int8_writes_too(folder: Path) -> None:
    made = T5Model("t5", folder, args={**ARGS, "dynamic_quantize": True})
    assert len(made.predict(CORPUS[:3])) == 3


def test_results_can_be_copied_and_pickled(model: Callable[..., T5Model]) -> None:
    made = model(evaluate_generated_text=True)
    for result in (made.eval_model(FRAME), made.predict(CORPUS[:2])):
        for again in (copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
            assert again == result
            pd.testing.assert_frame_equal(again.to_frame(), result.to_frame())


def test_a_batch_of_different_lengths_writes_like_one_row_at_a_time(tmp_path: Path) -> None:
    made = Seq2SeqModel("bart", tiny_checkpoint(tmp_path / "bart", "bart"), args={**ARGS, "min_length": 6})
    texts = ["a", *CORPUS[:5]]
    assert made.predict(texts) == [made.predict([text])[0] for text in texts]
