"""ConvAIModel: what it learns from, what it replies, and the calls of existing scripts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

import easytx
from easytx.conv_ai import ConvAIModel
from easytx.core.results import TrainResult
from easytx.errors import ArgumentError, CheckpointError
from easytx.testing import tiny_checkpoint

ARCHITECTURES = ["gpt2", "llama", "openai-gpt", "blenderbot", "blenderbot-small"]
WITHOUT_DATA = (
    "train_model needs data: give a path to persona-chat JSON, a list of its conversations, or a DataFrame with the "
    "columns history, reply and personality, as the first argument; easytx.samples.load('chats') has a few."
)


def _loss_by_hand(model: ConvAIModel, frame: pd.DataFrame) -> float:
    """Return the mean loss of the tokens of replies, one row after the other."""
    network = AutoModelForCausalLM.from_pretrained(model.args.output_dir)
    total, tokens = 0.0, 0
    for row in frame.itertuples():
        lines = [f"Persona: {' '.join(row.personality)}"] if row.personality else []
        speakers = ["Them", "You"] * len(row.history)
        lines += [f"{who}: {text}" for who, text in zip(speakers, row.history, strict=False)]
        prompt = model.tokenizer("\n".join([*lines, "You:"]))["input_ids"]
        reply = [*model.tokenizer(f" {row.reply}")["input_ids"], model.tokenizer.eos_token_id]
        with torch.no_grad():
            told = network(torch.tensor([[*prompt, *reply]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        total -= float(told[torch.arange(len(reply)), torch.tensor(reply)].sum())
        tokens += len(reply)
    return total / tokens


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_learns_scores_and_replies(
    talker: Callable[..., ConvAIModel], chats: list[dict[str, Any]], architecture: str, tmp_path: Path
) -> None:
    model = talker(architecture, num_train_epochs=8, learning_rate=3e-3, output_dir=str(tmp_path / "out"))
    before = model.eval_model(chats, output_dir="scores")
    result = model.train_model(chats)
    after = model.eval_model(chats, output_dir="scores")
    assert isinstance(result, TrainResult)
    assert result.global_step == 8
    assert after["language_model_loss"] < before["language_model_loss"] - 0.1
    assert set(after) == {"language_model_loss", "perplexity", "hits@1", "f1_score", "eval_loss"}
    assert after["perplexity"] == pytest.approx(math.exp(after["language_model_loss"]))
    again = easytx.load(tmp_path / "out").eval_model(chats, output_dir="scores")
    assert dict(again) == pytest.approx(dict(after), rel=1e-5)
    reply, history = model.interact_single("Did you win?", [], personality=["I play in a team."])
    assert history == ["Did you win?", reply]


def test_it_learns_replies_by_heart_and_which_one_is_right(
    talker: Callable[..., ConvAIModel], chats: list[dict[str, Any]]
) -> None:
    model = talker(num_train_epochs=60, learning_rate=5e-3, no_save=True, num_candidates=0)
    model.train_model(chats)
    result = model.eval_model(chats, output_dir="scores")
    assert result["hits@1"] == 1.0
    assert result["f1_score"] == 1.0
    assert result.to_frame()["prediction"].tolist() == ["Fine, and you?", "In Rome, by the river.", "Yes, in the rain!"]
    assert result.to_frame()["rank"].tolist() == [1, 1, 1]


def test_scores_are_those_of_one_row_after_the_other(talker: Callable[..., ConvAIModel], tmp_path: Path) -> None:
    train, held_out = easytx.samples.load("chats")
    model = talker(max_seq_length=300, output_dir=str(tmp_path / "out"), max_steps=2)
    model.train_model(train.head(6).drop(columns="candidates"))
    rows = held_out.head(5)
    result = model.eval_model(rows)
    assert result["language_model_loss"] == pytest.approx(_loss_by_hand(model, rows), rel=1e-4)
    assert result["eval_loss"] == result["language_model_loss"]
    # Without a head that chooses, the likeliest of five candidates is taken.
    assert 0 <= result["hits@1"] <= 1


def test_evaluations_write_without_chance(talker: Callable[..., ConvAIModel], chats: list[dict[str, Any]]) -> None:
    model = talker(manual_seed=None, temperature=5.0)
    first, second = (model.eval_model(chats).to_frame()["prediction"].tolist() for _ in range(2))
    assert first == second
    likeliest = talker(do_sample=False).predict(chats)
    assert first == likeliest


def test_no_replies_are_written_where_none_are_wanted(
    talker: Callable[..., ConvAIModel], chats: list[dict[str, Any]]
) -> None:
    result = talker(evaluate_generated_text=False).eval_model(chats)
    assert set(result) == {"language_model_loss", "perplexity", "hits@1", "eval_loss"}
    assert "prediction" not in result.to_frame()


def test_seeded_replies_are_the_same_each_time_and_batches_change_nothing(
    talker: Callable[..., ConvAIModel], chats: list[dict[str, Any]]
) -> None:
    model = talker(temperature=3.0)
    assert model.interact_single("Hi", []) == model.interact_single("Hi", [])
    assert model.interact_single("Hi", [])[0] != talker(temperature=3.0, manual_seed=2).interact_single("Hi", [])[0]
    calm = talker(do_sample=False)
    together = calm.predict(chats)
    assert list(together) == [
        calm.interact_single(row["history"][-1], row["history"][:-1], row["personality"])[0]
        for row in calm.read(chats, name="x", split="predict", renames={}).to_dict("records")
    ]


def test_lengths_and_the_number_of_replies_are_as_asked(talker: Callable[..., ConvAIModel]) -> None:
    model = talker(max_length=5, min_length=5, num_return_sequences=3)
    prediction = model.predict(["Hi", "Bye"])
    assert [len(texts) for texts in prediction] == [3, 3]
    assert {len(ids) for row in prediction.raw_outputs for ids in row} == {5}
    assert isinstance(model.interact_single("Hi", [])[0], str)


def test_a_history_stays_as_it_is_whether_of_texts_or_of_ids(talker: Callable[..., ConvAIModel]) -> None:
    model = talker()
    texts = ["Hi", "Hello"]
    ids = model.tokenizer(texts)["input_ids"]
    reply, told = model.interact_single("What is new?", texts)
    same, encoded = model.interact_single("What is new?", ids, encode_history=False)
    assert (texts, len(ids)) == (["Hi", "Hello"], 2)
    assert same == reply
    assert told == [*texts, "What is new?", reply]
    assert encoded[:3] == [*ids, model.tokenizer("What is new?")["input_ids"]]
    assert len(encoded) == 4
    assert model.interact_single("Hi", personality="I am old.") == model.interact_single("Hi", [], ["I am old."])


def test_what_is_read_of_a_history_is_its_end(talker: Callable[..., ConvAIModel]) -> None:
    model = talker(max_history=1, do_sample=False)
    long = ["Never read.", "Who?", "What is new?", "The house."]
    assert model.interact_single("Which?", long)[0] == model.interact_single("Which?", long[2:])[0]
    assert model.interact_single("Which?", long)[0] != model.interact_single("Which?", [])[0]


def test_permutations_train_on_a_row_several_times(
    talker: Callable[..., ConvAIModel], chats: list[dict[str, Any]]
) -> None:
    model = talker(personality_permutations=2, no_save=True, train_batch_size=1)
    assert model.train_model(chats).global_step == 5


def test_labels_are_smoothed_for_all_kinds_of_models(
    talker: Callable[..., ConvAIModel], chats: list[dict[str, Any]]
) -> None:
    for architecture, mc_coef in [("gpt2", 0.0), ("gpt2", 1.0), ("blenderbot", 1.0)]:
        details = []
        for smoothing in (0.0, 0.3):
            args = {"label_smoothing_factor": smoothing, "mc_coef": mc_coef, "no_save": True, "learning_rate": 0.0}
            details.append(talker(architecture, **args).train_model(chats).training_details)
        assert details[0] != details[1]


def test_gradients_can_be_accumulated_and_checkpointed(
    talker: Callable[..., ConvAIModel], chats: list[dict[str, Any]]
) -> None:
    args = {"no_save": True, "train_batch_size": 1, "gradient_accumulation_steps": 3, "gradient_checkpointing": True}
    model = talker(**args)
    assert model.train_model(chats).global_step == 1
    assert not any(getattr(module, "gradient_checkpointing", False) for module in model.model.modules())


def test_long_rows_are_counted(talker: Callable[..., ConvAIModel], chats: list[dict[str, Any]]) -> None:
    message = (
        r"^3 of 3 rows of to_predict are longer than max_seq_length=40 tokens, of which 20 are kept for the reply\. "
        "The oldest utterances were left out"
    )
    with pytest.warns(UserWarning, match=message):
        talker(max_seq_length=40).predict(chats)


def test_without_data_it_says_what_to_give(talker: Callable[..., ConvAIModel]) -> None:
    with pytest.raises(ArgumentError, match=rf"^{re.escape(WITHOUT_DATA)}$"):
        talker().train_model()


def test_without_data_it_evaluates_on_the_conversations_that_come_along(talker: Callable[..., ConvAIModel]) -> None:
    model = talker(evaluate_generated_text=False, max_seq_length=400)
    message = "^eval_model was given no data, and scores the evaluation part of the sample 'chats', which comes with"
    with pytest.warns(UserWarning, match=message):
        result = model.eval_model()
    assert result == model.eval_model(easytx.samples.load("chats")[1])


def test_no_more_is_replied_than_a_model_can_write(talker: Callable[..., ConvAIModel]) -> None:
    with pytest.raises(
        ArgumentError, match=r"^max_new_tokens is 513, but '.*' writes at most 512 tokens\. Set max_new_t"
    ):
        talker("blenderbot", max_new_tokens=513).interact_single("Hi")


def test_a_model_that_only_reads_is_refused(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "bert", "bert")
    with pytest.raises(CheckpointError, match="is a bert model, which reads texts but writes none"):
        ConvAIModel("auto", folder)


def test_custom_metrics_and_other_names_of_columns(talker: Callable[..., ConvAIModel]) -> None:
    rows = pd.DataFrame({"said": ["Hi", "Bye"], "answer": ["Hello", "See you"]}, index=[4, 2])
    names = {"history_column": "said", "reply_column": "answer"}
    result = talker(evaluate_generated_text=False).eval_model(
        rows, **names, length=lambda truth, _: float(np.mean([len(text) for text in truth]))
    )
    assert result["length"] == 6.0
    assert result.to_frame().index.tolist() == [4, 2]


# The calls of existing scripts


@pytest.mark.parametrize(
    ("model_type", "architecture"),
    [("gpt", "openai-gpt"), ("gpt2", "gpt2"), ("blender", "blenderbot"), ("blender-small", "blenderbot-small")],
)
def test_a_script_with_files_runs(
    checkpoint: Callable[[str], Path], chats: list[dict[str, Any]], model_type: str, architecture: str
) -> None:
    Path("data").mkdir()
    Path("data/train.json").write_text(json.dumps(chats), "utf-8")
    args = {"num_train_epochs": 2, "save_model_every_epoch": False, "overwrite_output_dir": True, "silent": True}
    model = ConvAIModel(model_type, str(checkpoint(architecture)), use_cuda=False, args=args)
    global_step, loss = model.train_model("data/train.json", args={"silent": True})
    assert (global_step, loss > 0) == (2, True)
    result = model.eval_model(eval_file="data/train.json")
    assert {"language_model_loss", "f1_score"} <= set(result)
    history: list[str] = []
    for message in ("Hi there.", "What do you do?"):
        response, history = model.interact_single(message, history, personality=["I love cats.", "I live in Rome."])
        assert history[-1] == response
    assert len(history) == 4


def test_a_script_that_evaluates_while_training_runs(
    checkpoint: Callable[[str], Path], chats: list[dict[str, Any]]
) -> None:
    model = ConvAIModel("gpt2", str(checkpoint("gpt2")), args={"evaluate_during_training": True, "silent": True})
    settings = {"early_stopping_metric": "perplexity"}
    _, details = model.train_model(train_file=chats[:1], eval_file=chats[1:], args=settings)
    assert {"perplexity", "hits@1", "f1_score", "language_model_loss", "eval_loss"} <= set(details)
