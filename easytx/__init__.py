"""From a pandas DataFrame to a fine-tuned transformer in three lines."""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "ClassificationArgs": "easytx.classification",
    "ClassificationModel": "easytx.classification",
    "ConvAIArgs": "easytx.conv_ai",
    "ConvAIModel": "easytx.conv_ai",
    "GenerationArgs": "easytx.config.generation",
    "LanguageGenerationArgs": "easytx.language_generation",
    "LanguageGenerationModel": "easytx.language_generation",
    "LanguageModelingArgs": "easytx.language_modeling",
    "LanguageModelingModel": "easytx.language_modeling",
    "ModelArgs": "easytx.config.model_args",
    "MultiLabelClassificationArgs": "easytx.classification",
    "MultiLabelClassificationModel": "easytx.classification",
    "MultiModalClassificationArgs": "easytx.classification",
    "MultiModalClassificationModel": "easytx.classification",
    "NERArgs": "easytx.ner",
    "NERModel": "easytx.ner",
    "PretrainRetrievalModel": "easytx.pretrain_retrieval",
    "QuestionAnsweringArgs": "easytx.question_answering",
    "QuestionAnsweringModel": "easytx.question_answering",
    "RepresentationArgs": "easytx.language_representation",
    "RepresentationModel": "easytx.language_representation",
    "RetrievalArgs": "easytx.retrieval",
    "RetrievalModel": "easytx.retrieval",
    "Seq2SeqArgs": "easytx.seq2seq",
    "Seq2SeqModel": "easytx.seq2seq",
    "T5Args": "easytx.t5",
    "T5Model": "easytx.t5",
    "errors": "easytx.errors",
    "global_args": "easytx.config.global_args",
    "link_model": "easytx.training.tracking_artifacts",
    "load": "easytx.core.registry",
    "samples": "easytx.data.samples",
    "sweep": "easytx.core.sweep",
}
_MODULES = {"errors", "samples"}

__all__ = [
    "ClassificationArgs",
    "ClassificationModel",
    "ConvAIArgs",
    "ConvAIModel",
    "GenerationArgs",
    "LanguageGenerationArgs",
    "LanguageGenerationModel",
    "LanguageModelingArgs",
    "LanguageModelingModel",
    "ModelArgs",
    "MultiLabelClassificationArgs",
    "MultiLabelClassificationModel",
    "MultiModalClassificationArgs",
    "MultiModalClassificationModel",
    "NERArgs",
    "NERModel",
    "PretrainRetrievalModel",
    "QuestionAnsweringArgs",
    "QuestionAnsweringModel",
    "RepresentationArgs",
    "RepresentationModel",
    "RetrievalArgs",
    "RetrievalModel",
    "Seq2SeqArgs",
    "Seq2SeqModel",
    "T5Args",
    "T5Model",
    "__version__",
    "errors",
    "global_args",
    "link_model",
    "load",
    "samples",
    "sweep",
]

if TYPE_CHECKING:
    from easytx import errors
    from easytx.classification import (
        ClassificationArgs,
        ClassificationModel,
        MultiLabelClassificationArgs,
        MultiLabelClassificationModel,
        MultiModalClassificationArgs,
        MultiModalClassificationModel,
    )
    from easytx.config.generation import GenerationArgs
    from easytx.config.global_args import global_args
    from easytx.config.model_args import ModelArgs
    from easytx.conv_ai import ConvAIArgs, ConvAIModel
    from easytx.core.registry import load
    from easytx.core.sweep import sweep
    from easytx.data import samples
    from easytx.language_generation import LanguageGenerationArgs, LanguageGenerationModel
    from easytx.language_modeling import LanguageModelingArgs, LanguageModelingModel
    from easytx.language_representation import RepresentationArgs, RepresentationModel
    from easytx.ner import NERArgs, NERModel
    from easytx.pretrain_retrieval import PretrainRetrievalModel
    from easytx.question_answering import QuestionAnsweringArgs, QuestionAnsweringModel
    from easytx.retrieval import RetrievalArgs, RetrievalModel
    from easytx.seq2seq import Seq2SeqArgs, Seq2SeqModel
    from easytx.t5 import T5Args, T5Model
    from easytx.training.tracking_artifacts import link_model


if "ipykernel" in sys.modules:
    # In a notebook without ipywidgets, bars are of text: no need to be told so by the first library that imports them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("tqdm.auto")


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'easytx' has no attribute '{name}'")
    module = importlib.import_module(_PUBLIC[name])
    value = module if name in _MODULES else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return list(__all__)
