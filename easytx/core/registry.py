"""Model classes by name, imported on use."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from easytx.config.args_object import read_saved
from easytx.core.loading import holds_model
from easytx.errors import CheckpointError, ModelNotFoundError

MODEL_CLASSES = {
    "ClassificationModel": "easytx.classification",
    "ConvAIModel": "easytx.conv_ai",
    "LanguageGenerationModel": "easytx.language_generation",
    "LanguageModelingModel": "easytx.language_modeling",
    "MultiLabelClassificationModel": "easytx.classification",
    "MultiModalClassificationModel": "easytx.classification",
    "NERModel": "easytx.ner",
    "PretrainRetrievalModel": "easytx.pretrain_retrieval",
    "QuestionAnsweringModel": "easytx.question_answering",
    "RepresentationModel": "easytx.language_representation",
    "RetrievalModel": "easytx.retrieval",
    "Seq2SeqModel": "easytx.seq2seq",
    "T5Model": "easytx.t5",
}


def model_class(name: str) -> type[Any]:
    """Return a model class by its name.

    Raises:
        CheckpointError: If there is no such class.
    """
    if name not in MODEL_CLASSES:
        raise CheckpointError(f"There is no model class '{name}'. Known are {sorted(MODEL_CLASSES)}.")
    found: type[Any] = getattr(importlib.import_module(MODEL_CLASSES[name]), name)
    return found


def load(folder: str | Path, **kwargs: Any) -> Any:
    """Return the model saved in a folder, as the class that wrote it.

    Args:
        folder: What `output_dir` or `best_model_dir` was; or a model that was sent to Weights & Biases, as
            `wandb:entity/project/name:alias`, which is downloaded.
        **kwargs: For the class's constructor, such as `args` or `use_cuda`.

    Raises:
        ModelNotFoundError: If the folder holds no model.
        CheckpointError: If it does not say which class wrote it.
    """
    if str(folder).startswith("wandb:"):
        from easytx.training.tracking_artifacts import fetched

        folder = fetched(str(folder))
    if not Path(folder).exists():
        raise ModelNotFoundError(f"There is no folder '{folder}'.")
    if not holds_model(folder):
        raise ModelNotFoundError(f"The folder '{folder}' holds no model: it has no config.json.")
    name = read_saved(folder).get("model_class")
    if name is None:
        raise CheckpointError(
            f"'{folder}' does not say which class wrote it (model_args.json has no model_class). "
            "Open it with the class itself, for example ClassificationModel('auto', folder)."
        )
    return model_class(name)("auto", str(folder), **kwargs)
