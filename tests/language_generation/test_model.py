"""Prompts and what follows them."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import easytx
from easytx.errors import ArgumentError, CheckpointError
from easytx.language_generation import LanguageGenerationModel
from easytx.language_modeling import LanguageModelingModel
from easytx.testing import CORPUS, tiny_checkpoint

PROMPTS = ["John lives in", "The film was a joy from the first", "who"]
GREEDY = {"do_sample": False, "fp16": False, "silent": True, "max_length": 8}


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_checkpoint(tmp_path_factory.mktemp("tiny") / request.param, request.param))


def _model(checkpoint: str, **args: Any) -> LanguageGenerationModel:
    return LanguageGenerationModel("causal", checkpoint, args={**GREEDY, **args}, use_cuda=False)


def test_a_text_is_the_prompt_and_what_follows(checkpoint: str) -> None:
    model = _model(checkpoint)
    (text,) = model.generate(PROMPTS[0])
    inputs = model.tokenizer(PROMPTS[0], return_tensors="pt")
    ids = model.model.generate(**inputs, max_new_tokens=8, do_sample=False, pad_token_id=0)
    new = ids[0, inputs["input_ids"].shape[1] :]
    assert text == PROMPTS[0] + model.tokenizer.decode(new, skip_special_tokens=True)
    assert model.generate(PROMPTS[0]).to_frame()["prompt"].tolist() == [PROMPTS[0]]


def test_a_batch_of_prompts_gets_what_each_gets_alone(checkpoint: str) -> None:
    model = _model(checkpoint)
    assert model.generate(PROMPTS) == [model.generate(prompt)[0] for prompt in PROMPTS]


def test_several_texts_are_drawn(checkpoint: str) -> None:
    model = _model(checkpoint, do_sample=True, num_return_sequences=3, manual_seed=1)
    texts = model.generate(PROMPTS[0])
    assert len(texts) == 3
    assert all(text.startswith(PROMPTS[0]) for text in texts)
    assert model.generate(PROMPTS[0]) == texts
    assert [len(row) for row in model.generate(PROMPTS)] == [3, 3, 3]
    assert model.generate(PROMPTS[0], args={"manual_seed": 2}) != texts


def test_defaults_are_to_sample(checkpoint: str) -> None:
    args = LanguageGenerationModel("causal", checkpoint).args
    assert (args["do_sample"], args["max_length"], args["top_k"], args["top_p"]) == (True, 20, 50, 0.95)


def test_a_stop_token_ends_the_text_and_is_left_out(checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model(checkpoint)
    ids = model.predict([PROMPTS[0]]).raw_outputs[0][0]
    pieces = [model.tokenizer.decode([number]) for number in ids.tolist()]
    stop = next(piece for piece in pieces[2:] if piece.strip() and "\ufffd" not in piece)
    whole = model.generate(PROMPTS[0])[0].removeprefix(PROMPTS[0])
    found = model.generate(PROMPTS[0], args={"stop_token": stop})
    assert found == [PROMPTS[0] + whole.split(stop)[0]]
    assert len(found.raw_outputs[0][0]) < len(ids)


def test_padding_text_is_read_and_not_returned(checkpoint: str) -> None:
    model = _model(checkpoint)
    with_more = model.generate(PROMPTS[0], args={"padding_text": CORPUS[0] + " "})[0]
    (whole,) = model.generate(CORPUS[0] + " " + PROMPTS[0], args={"padding_text": ""})
    assert with_more == whole.removeprefix(CORPUS[0] + " ")


def test_a_text_is_shown_while_it_is_written(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = _model(checkpoint, stream=True)
    (text,) = model.generate(PROMPTS[0])
    assert capsys.readouterr().out.strip() == text.strip()
    for prompt, args in ((PROMPTS, {}), (PROMPTS[0], {"num_beams": 2})):
        with pytest.raises(ArgumentError, match="stream shows one text while it is written"):
            model.generate(prompt, args=args)


def test_a_prompt_is_asked_for_at_a_terminal_only(checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model(checkpoint)
    monkeypatch.setattr(builtins, "input", lambda _: pytest.fail("it was asked for"))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(ArgumentError, match="generate needs a prompt, and there is no terminal to ask at"):
        model.generate()
    assert model.generate(args={"prompt": PROMPTS[0]}) == model.generate(PROMPTS[0])
    model.args.prompt = ""
    monkeypatch.setattr(builtins, "input", lambda _: PROMPTS[2])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert model.generate() == model.generate(PROMPTS[2])
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=None)))
    with pytest.raises(ArgumentError, match="generate needs a prompt, and there is no terminal to ask at"):
        model.generate()


def test_a_trained_language_model_opens_here(checkpoint: str, warned: Callable[..., Any]) -> None:
    trained = LanguageModelingModel("causal", checkpoint, args={"silent": True, "output_dir": "lm", "fp16": False})
    trained.train_model(list(CORPUS[:8]))
    model, messages = warned(lambda: _model("lm"))
    assert messages == []
    response = trained.predict(PROMPTS[0], generation_args={"max_length": 8}).predictions[0]
    assert model.generate(PROMPTS[0]) == [PROMPTS[0] + response]
    with pytest.raises(ArgumentError, match=r"Use LanguageModelingModel\('causal', \.\.\.\)"):
        model.train_model(["a text"])


def test_a_saved_folder_opens_with_load(checkpoint: str, tmp_path: Path) -> None:
    model = _model(checkpoint)
    model.save_model("saved")
    assert easytx.load("saved").generate(PROMPTS) == model.generate(PROMPTS)


def test_other_settings_of_the_model(checkpoint: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"xlm_language is 'de', but .* has the languages \[\]"):
        _model(checkpoint, xlm_language="de")
    other = tiny_checkpoint(tmp_path / "other", "gpt2", attn_pdrop=0.7)
    if checkpoint.endswith("gpt2"):
        assert _model(checkpoint, config_name=str(other)).config.attn_pdrop == 0.7


def test_a_model_that_only_reads_is_refused(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "bert", "bert")
    with pytest.raises(CheckpointError) as refused:
        LanguageGenerationModel("bert", folder)
    assert str(refused.value) == (
        f"'{folder}' is a bert model, which reads texts but writes none. LanguageGenerationModel needs a causal "
        "language model, such as gpt2."
    )
    args = {"mlm": False, "silent": True, "output_dir": "decoder", "fp16": False}
    LanguageModelingModel("bert", str(folder), args=args).train_model(list(CORPUS[:4]))
    assert LanguageGenerationModel("bert", "decoder", args=GREEDY).generate("the film")
