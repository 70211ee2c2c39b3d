"""The places that scripts import from, with only the name of the package changed."""

from __future__ import annotations

import importlib

import pytest

import easytx

PLACES = {
    "easytx.classification": [
        "ClassificationArgs",
        "ClassificationModel",
        "MultiLabelClassificationArgs",
        "MultiLabelClassificationModel",
        "MultiModalClassificationArgs",
        "MultiModalClassificationModel",
    ],
    "easytx.config.global_args": ["global_args"],
    "easytx.config.model_args": [name for name in easytx.__all__ if name.endswith("Args")],
    "easytx.config.utils": ["sweep_config_to_sweep_values"],
    "easytx.conv_ai": ["ConvAIArgs", "ConvAIModel"],
    "easytx.language_generation": ["LanguageGenerationArgs", "LanguageGenerationModel"],
    "easytx.language_modeling": ["GenerationArgs", "LanguageModelingArgs", "LanguageModelingModel"],
    "easytx.language_representation": ["RepresentationArgs", "RepresentationModel"],
    "easytx.losses": ["DiceLoss", "FocalLoss", "TverskyLoss"],
    "easytx.model": ["TransformerModel"],
    "easytx.ner": ["NERArgs", "NERModel"],
    "easytx.pretrain_retrieval": ["PretrainRetrievalModel", "RetrievalArgs"],
    "easytx.question_answering": ["QuestionAnsweringArgs", "QuestionAnsweringModel"],
    "easytx.retrieval": ["RetrievalArgs", "RetrievalModel"],
    "easytx.seq2seq": ["Seq2SeqArgs", "Seq2SeqModel"],
    "easytx.t5": ["T5Args", "T5Model"],
}


@pytest.mark.parametrize(("place", "names"), PLACES.items(), ids=PLACES)
def test_each_name_is_where_scripts_look_for_it(place: str, names: list[str]) -> None:
    module = importlib.import_module(place)
    for name in names:
        assert getattr(module, name) is getattr(easytx, name, getattr(module, name))


def test_an_old_name_is_the_class_of_today() -> None:
    from easytx.model import TransformerModel

    assert TransformerModel is easytx.ClassificationModel


def test_what_is_not_there_is_an_import_error() -> None:
    with pytest.raises(ImportError):
        from easytx.config.model_args import Nothing  # noqa: F401
    with pytest.raises(ImportError):
        from easytx.config.model_args import NoSuchArgs  # noqa: F401
