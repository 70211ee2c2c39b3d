"""T5: prefixes, its own defaults, its precision, and models from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import Adafactor

import easytx
from easytx import T5Args, T5Model
from easytx.testing import tiny_checkpoint, tiny_tokenizer
from easytx.training import precision

from .conftest import ARGS, rows


def _inputs(model: T5Model, frame: pd.DataFrame, split: str = "train") -> list[str]:
    data = model.prepared(frame, name="train_df", split=split, renames={})
    texts: list[str] = model.tokenizer.batch_decode(data.dataset["input_ids"][:], skip_special_tokens=True)
    return texts


FRAME = pd.DataFrame({"prefix": ["cut"], "input_text": ["the film"], "target_text": ["the"]})


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({}, "cut: the film"),
        ({"preprocess_inputs": False}, "cutthe film"),
        ({"add_prefix": False}, "the film"),
        ({"add_prefix": False, "preprocess_inputs": False}, "the film"),
    ],
)
def test_the_prefix_says_which_task_it_is(checkpoint: Path, args: dict[str, Any], expected: str) -> None:
    model = T5Model("t5", checkpoint, args={**ARGS, **args})
    assert _inputs(model, FRAME) == [expected]


def test_rows_need_no_prefix(checkpoint: Path) -> None:
    assert _inputs(T5Model("t5", checkpoint, args=ARGS), FRAME.drop(columns="prefix")) == ["the film"]


def test_what_is_predicted_for_may_have_its_prefix_in_the_text_or_beside_it(checkpoint: Path) -> None:
    model = T5Model("t5", checkpoint, args=ARGS)
    in_text = model.predict(["cut: the film"])
    assert model.predict(FRAME[["prefix", "input_text"]]) == in_text
    assert model.predict([["cut", "the film"]]) == in_text
    assert model.predict("cut: the film") == in_text


def test_columns_without_names_are_taken_in_order(checkpoint: Path) -> None:
    model = T5Model("t5", checkpoint, args=ARGS)
    unnamed = FRAME.set_axis(range(3), axis="columns")
    with pytest.warns(UserWarning, match=r"its columns are taken as \['prefix', 'input_text', 'target_text'\]"):
        assert _inputs(model, unnamed) == ["cut: the film"]


def test_the_defaults_are_those_of_t5() -> None:
    args = T5Args()
    chosen = (args.optimizer, args.learning_rate, args.scheduler, args.max_length, args.length_penalty)
    assert chosen == ("Adafactor", 1e-3, "constant_schedule_with_warmup", 20, 2.0)
    assert [args.adafactor_relative_step, args.adafactor_scale_parameter, args.adafactor_warmup_init] == [False] * 3
    assert args.early_stopping
    assert (args.top_k, args.top_p, args.num_beams) == (None, None, 1)


def test_it_trains_with_adafactor_at_a_constant_rate(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = Adafactor.step

    def record(self: Any, *args: Any, **kwargs: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(Adafactor, "step", record)
    T5Model("t5", checkpoint, args={**ARGS, "warmup_ratio": 0.0}).train_model(rows(16))
    assert rates == [1e-3, 1e-3]


def test_it_may_be_evaluated_before_the_first_step(checkpoint: Path) -> None:
    args = {**ARGS, "evaluate_before_training": True, "evaluate_during_training": True, "train_batch_size": 2}
    model = T5Model("t5", checkpoint, args=args)
    before = model.eval_model(rows(12).iloc[8:])["eval_loss"]
    details = model.train_model(rows(8), eval_data=rows(12).iloc[8:]).training_details
    assert details["global_step"] == [0, 4]
    assert details["eval_loss"][0] == pytest.approx(before, rel=1e-4)
    assert details["eval_loss"][1] != pytest.approx(before, rel=1e-4)


def test_two_tasks_are_learnt_by_their_prefix(checkpoint: Path) -> None:
    model = T5Model("t5", checkpoint, args={**ARGS, "learning_rate": 1e-2, "num_train_epochs": 60})
    frame = rows(6)
    model.train_model(frame)
    assert model.predict(frame[["prefix", "input_text"]]) == frame["target_text"].tolist()


@pytest.mark.parametrize(("architecture", "expected"), [("t5", None), ("mt5", None), ("pegasus", None)])
def test_it_never_computes_in_fp16(
    architecture: str, expected: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_checkpoint(tmp_path / architecture, architecture)
    model = T5Model(architecture, folder)
    model.device = torch.device("cuda")
    monkeypatch.setattr(precision, "_gains_by_bf16", lambda _: False)
    assert model.precision() is expected
    monkeypatch.setattr(precision, "_gains_by_bf16", lambda _: True)
    assert model.precision() is torch.bfloat16


def test_others_do_where_there_is_nothing_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = T5Model("bart", tiny_checkpoint(tmp_path / "bart", "bart"))
    model.device = torch.device("cuda")
    monkeypatch.setattr(precision, "_gains_by_bf16", lambda _: False)
    assert model.precision() is torch.float16


def test_bytes_are_read_and_written(tmp_path: Path) -> None:
    model = T5Model("byt5", tiny_checkpoint(tmp_path / "byt5", "byt5"), args=ARGS)
    model.train_model(rows(4), args={"no_save": False})
    texts = [*rows(4)["input_text"], "größer"]
    assert easytx.load("outputs", args={"silent": True}).predict(texts) == model.predict(texts)


def test_a_model_from_scratch_is_made_of_a_tokenizer_and_a_size() -> None:
    size = {"d_model": 16, "num_layers": 1, "num_heads": 2, "d_kv": 8, "d_ff": 16}
    model = T5Model("t5", None, tokenizer=tiny_tokenizer("t5"), args={**ARGS, "config": size})
    assert (model.config.num_layers, model.config.num_decoder_layers) == (1, 1)
    model.train_model(rows(4), args={"no_save": False})
    again = T5Model("t5", "outputs", args={"silent": True})
    assert again.predict(rows(4)["input_text"]) == model.predict(rows(4)["input_text"])


def test_the_name_alone_is_enough(checkpoint: Path) -> None:
    assert T5Model(str(checkpoint), args=ARGS).config.model_type == "t5"
    assert T5Model(model_name=checkpoint, args=ARGS).config.model_type == "t5"
