"""The first steps that people take with other libraries, with tiny local models in place of published ones."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from easytx.seq2seq import Seq2SeqArgs, Seq2SeqModel
from easytx.t5 import T5Args, T5Model

PAIRS = [["one film", "the story was dull"], ["two songs", "the song was good"]]


@pytest.fixture(autouse=True)
def _seen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def _set(args: Any) -> Any:
    args.num_train_epochs = 4
    args.no_save = True
    args.evaluate_generated_text = True
    args.evaluate_during_training = True
    args.evaluate_during_training_verbose = True
    args.silent = True
    return args


def _matches(labels: list[str], preds: list[str]) -> int:
    return sum(label == pred for label, pred in zip(labels, preds, strict=True))


@pytest.fixture
def frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    train = pd.DataFrame(PAIRS, columns=["input_text", "target_text"])
    return train, pd.DataFrame([["three meals", "the meal was cold"]], columns=train.columns)


@pytest.mark.parametrize("start", ["encoder and decoder", "bart", "marian"])
def test_text_to_text(start: str, checkpoint: Callable[[str], Path], frames: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    args = _set(Seq2SeqArgs())
    if start == "encoder and decoder":
        model = Seq2SeqModel("roberta", checkpoint("roberta"), checkpoint("bert"), args=args)
    else:
        model = Seq2SeqModel(encoder_decoder_type=start, encoder_decoder_name=checkpoint(start), args=args)
    train, held_out = frames
    global_step, details = model.train_model(train, eval_data=held_out, matches=_matches)
    assert global_step == 4
    assert {"eval_loss", "matches", "bleu", "exact_match", "rougeL"} <= set(details)
    result = model.eval_model(held_out)
    assert result["eval_loss"] > 0
    (text,) = model.predict(["four trains and a long river"])
    assert isinstance(text, str)


def test_a_pair_is_opened_again_by_the_folder(
    checkpoint: Callable[[str], Path], frames: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    args = {"reprocess_input_data": True, "overwrite_output_dir": True, "max_seq_length": 10, "train_batch_size": 2,
            "num_train_epochs": 2, "save_eval_checkpoints": False, "save_model_every_epoch": False, "max_length": 20,
            "evaluate_generated_text": True, "evaluate_during_training_verbose": True, "use_multiprocessing": False,
            "silent": True}  # fmt: skip
    model = Seq2SeqModel("bert", checkpoint("bert"), checkpoint("bert"), args=args)
    model.train_model(frames[0])
    results = model.eval_model(frames[1])
    again = Seq2SeqModel("bert", encoder_decoder_name="outputs", args=args)
    assert again.predict(["four trains"]) == model.predict(["four trains"])
    assert again.eval_model(frames[1]) == pytest.approx(results, rel=1e-5)


def test_t5_with_prefixes(tmp_path: Path, checkpoint: Callable[[str], Path]) -> None:
    columns = ["prefix", "input_text", "target_text"]
    train = pd.DataFrame([["shorten", *PAIRS[0]], ["sing", *PAIRS[1]]], columns=columns)
    held_out = pd.DataFrame([["shorten", "three meals", "the meal was cold"]], columns=columns)
    model = T5Model("t5", checkpoint("t5"), args=_set(T5Args()))
    model.train_model(train, eval_data=held_out)
    assert {"eval_loss", "exact_match", "bleu"} <= set(model.eval_model(held_out))
    assert len(model.predict(["shorten: four trains", "sing: a river"])) == 2


def test_nothing_but_a_list_is_needed_to_translate(checkpoint: Callable[[str], Path]) -> None:
    args = {"num_beams": 3, "num_return_sequences": 2, "silent": True, "eval_batch_size": 2}
    model = Seq2SeqModel(encoder_decoder_type="marian", encoder_decoder_name=checkpoint("marian"), args=args)
    assert [len(texts) for texts in model.predict(["the film", "a story", "a song"])] == [2, 2, 2]
