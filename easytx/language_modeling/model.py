"""Language models: trained on plain texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from datasets import Dataset
from typing_extensions import override

from easytx.config.model_args import ModelArgs
from easytx.core.calls import Metric
from easytx.core.results import Scores
from easytx.data.frames import Columns
from easytx.data.prepared import TaskData
from easytx.data.tokenise import column
from easytx.errors import ArgumentError
from easytx.language_modeling import adapters, preparing, reading, results, scratch
from easytx.language_modeling.args import LanguageModelingArgs
from easytx.language_modeling.checkpoint import LanguageCheckpoint
from easytx.language_modeling.results import TokenScores
from easytx.training.inference import Outputs
from easytx.training.losses import LossFunction


class LanguageModelingModel(LanguageCheckpoint):
    """Train a language model on texts: a pretrained one or a new one, on masked tokens or on the next one.

    Example:
        >>> model = LanguageModelingModel("starter", args={"max_seq_length": 128})
        >>> model.train_model("train.txt")  # a text a line; or a list, a DataFrame with a column text ...
        >>> model.eval_model("eval.txt")["perplexity"]
    """

    args_class: ClassVar[type[ModelArgs]] = LanguageModelingArgs
    columns: ClassVar[Columns] = reading.COLUMNS
    batch_columns: ClassVar[tuple[str, ...]] = ("units",)

    def __init__(
        self,
        model_type: str | None = None,
        model_name: str | Path | None = None,
        generator_name: str | None = None,
        discriminator_name: str | None = None,
        train_files: Any = None,
        args: Mapping[str, Any] | ModelArgs | None = None,
        use_cuda: bool | None = None,
        retrieval_model: Any = None,
        adapter_name: str | None = None,
        cuda_device: int = -1,
        **kwargs: Any,
    ) -> None:
        """See `CheckpointedModel`; without a model name, a new model of this architecture is made.

        Args:
            model_type: As there; "causal" for any model that predicts the next token.
            model_name: As there; None for a new model.
            generator_name: The generator of an ELECTRA.
            discriminator_name: Its discriminator.
            train_files: A path or a list of paths, from which a new model learns its vocabulary.
            args: As there.
            use_cuda: As there.
            retrieval_model: Refused: the class does not retrieve passages.
            adapter_name: A folder or hub name of a LoRA adapter for the model.
            cuda_device: As there.
            **kwargs: As there.
        """
        preparing.refuse_retrieval(retrieval_model=retrieval_model)
        device = {"use_cuda": use_cuda, "cuda_device": cuda_device}
        parts = (generator_name, discriminator_name)
        files = {"train_files": train_files, "adapter_name": adapter_name}
        super().__init__(model_type, model_name, parts=parts, args=args, **files, **device, **kwargs)
        preparing.refuse_retrieval(rag=self.args["rag"], use_autoencoder=self.args["use_autoencoder"])

    @override
    def read(self, rows: Any, *, name: str, split: str, renames: Mapping[str, str]) -> pd.DataFrame:
        return reading.documents(rows, name=name, args=self.args, renames=renames)

    @override
    def prepared(self, rows: Any, *, name: str, split: str, **options: Any) -> TaskData:
        if split == "train" and self.args["stream_hf_datasets"]:
            return preparing.streamed(self, rows, name=name)
        return super().prepared(rows, name=name, split=split, **options)

    @override
    def prepare(self, frame: pd.DataFrame, split: str, name: str) -> Dataset:
        dataset = preparing.blocks_of(self, frame["text"].tolist(), split, name)
        if split == "train":
            return dataset
        return self.objective.for_evaluation(self.tokenizer, dataset, self.args["mlm_probability"])

    @override
    def collator(self) -> Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]]:
        return self.objective.collator(self.tokenizer, self.args["mlm_probability"])

    @override
    def loss(self) -> LossFunction | None:
        return self.objective.loss(self.args.label_smoothing_factor)

    @override
    def reduce(self, outputs: Any, batch: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        return self.objective.reduce(outputs, batch)

    @override
    def decode(self, outputs: Outputs, data: TaskData) -> TokenScores:
        return results.token_scores(outputs.values, column(data.dataset, "row"))

    @override
    def score(self, answers: TokenScores, data: TaskData, metrics: Mapping[str, Metric]) -> dict[str, Any]:
        return results.scores(answers, metrics)

    @override
    def evaluation(self, result: dict[str, Any], answers: TokenScores, data: TaskData) -> Scores:
        return Scores(result, results.by_document(answers, data))

    def train_tokenizer(
        self,
        train_files: Any,
        tokenizer_name: str | None = None,
        output_dir: str | Path | None = None,
        use_trained_tokenizer: bool = True,
    ) -> Any:
        """Learn a vocabulary from files, and return its tokenizer.

        Args:
            train_files: A path or a list of paths.
            tokenizer_name: Where to write it; the same as `output_dir`.
            output_dir: Where to write it; None writes nothing.
            use_trained_tokenizer: Whether this model takes it, which a new model alone can.
        """
        if use_trained_tokenizer:
            self.check_new()
        masked, name = not self.objective.causal, self.config.model_type
        tokenizer = scratch.new_tokenizer(train_files, model_type=name, args=self.args, masked=masked)
        folder = output_dir or tokenizer_name
        if folder is not None:
            scratch.write_tokenizer_to(tokenizer, folder)
        if use_trained_tokenizer:
            self.take_tokenizer(tokenizer)
        return tokenizer

    def save_generator(self, output_dir: str | Path | None = None) -> None:
        """Write the generator of an ELECTRA to `generator_model` under `output_dir`."""
        self.write_part(Path(output_dir or self.args.output_dir), "generator_model")

    def save_discriminator(self, output_dir: str | Path | None = None) -> None:
        """Write the discriminator of an ELECTRA to `discriminator_model` under `output_dir`."""
        self.write_part(Path(output_dir or self.args.output_dir), "discriminator_model")
