"""The first scripts that users of other libraries write, with tiny models of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from easytx.classification import ClassificationModel
from easytx.language_generation import LanguageGenerationModel
from easytx.language_modeling import LanguageModelingArgs, LanguageModelingModel
from easytx.testing import tiny_checkpoint

from .conftest import TINY

PART = {**TINY["bert"], "embedding_size": 8}


def _arguments(**values: Any) -> LanguageModelingArgs:
    args = LanguageModelingArgs()
    args.reprocess_input_data = True
    args.overwrite_output_dir = True
    args.num_train_epochs = 1
    args.dataset_type = "simple"
    args.update_from_dict({"silent": True, **values})
    return args


def _run(model: LanguageModelingModel, train_file: str, test_file: str) -> None:
    model.train_model(train_file, eval_file=test_file)
    result = model.eval_model(test_file)
    assert result["perplexity"] > 1
    assert result["eval_loss"] > 0


def test_fine_tuning_a_masked_model(bert: str, train_file: str, eval_file: str) -> None:
    args = _arguments(evaluate_during_training=True)
    _run(LanguageModelingModel("bert", bert, args=args), train_file, eval_file)


def test_fine_tuning_a_causal_model(gpt2: str, train_file: str, eval_file: str) -> None:
    args = _arguments(mlm=False, evaluate_during_training=True)
    _run(LanguageModelingModel("gpt2", gpt2, args=args), train_file, eval_file)


def test_fine_tuning_electra(folder: Path, train_file: str, eval_file: str) -> None:
    generator = tiny_checkpoint(folder / "start_g", "electra", head="AutoModelForMaskedLM")
    discriminator = tiny_checkpoint(folder / "start_d", "electra", head="AutoModelForPreTraining")
    model = LanguageModelingModel(
        "electra",
        "electra",
        generator_name=str(generator),
        discriminator_name=str(discriminator),
        args=_arguments(evaluate_during_training=True),
    )
    _run(model, train_file, eval_file)


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_a_model_from_scratch(architecture: str, train_file: str, eval_file: str) -> None:
    args = _arguments(vocab_size=400, mlm=architecture == "bert", evaluate_during_training=True)
    args.config = TINY[architecture]
    _run(LanguageModelingModel(architecture, None, args=args, train_files=train_file), train_file, eval_file)


def test_electra_from_scratch_and_its_discriminator_as_a_classifier(train_file: str, eval_file: str) -> None:
    args = {
        "reprocess_input_data": False,
        "overwrite_output_dir": True,
        "evaluate_during_training": True,
        "num_train_epochs": 1,
        "vocab_size": 400,
        "generator_config": PART,
        "discriminator_config": PART,
        "silent": True,
    }
    _run(LanguageModelingModel("electra", None, args=args, train_files=train_file), train_file, eval_file)
    (checkpoint,) = Path("outputs").glob("checkpoint-*")
    model = LanguageModelingModel("electra", str(checkpoint), args=args)
    model.save_discriminator("outputs/again")
    classifier = ClassificationModel("electra", "outputs/again/discriminator_model")
    assert classifier.model.config.model_type == "electra"


def test_writing(gpt2: str) -> None:
    model = LanguageGenerationModel("gpt2", gpt2)
    model.args.prompt = "John lives in"
    assert len(model.generate()) == 1
    (text,) = model.generate("Let's give a minimal start to the model like", verbose=False)
    assert text.startswith("Let's give a minimal start to the model like")
