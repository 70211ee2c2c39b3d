"""The lifecycle of every model class: construct, train, evaluate, predict, save."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from easytx.config.args_object import read_saved
from easytx.config.global_args import resolve
from easytx.config.model_args import ModelArgs
from easytx.core import loading, saving
from easytx.core.calls import Metric, read_call
from easytx.core.results import TrainResult
from easytx.data.checks import warn_about_truncation
from easytx.data.frames import Columns, as_frame, as_texts
from easytx.errors import ArgumentError, CheckpointError
from easytx.training.precision import mixed_precision, resolve_device

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from datasets import Dataset

    from easytx.data.labels import LabelMap
    from easytx.data.prepared import TaskData
    from easytx.training.inference import Outputs
    from easytx.training.losses import LossFunction

# Classes whose folders any task may start from.
_ENCODER_ONLY = {"LanguageModelingModel", "RepresentationModel"}


class BaseModel:
    """What all model classes share. A task states the attributes below and writes the hooks.

    To add a task: state `args_class`, `auto_class` and `columns`; write `prepare`, `decode`, `score`, `evaluation`
    and `prediction`; override `collator`, `reduce` and `loss` where the defaults do not serve.

    Attributes:
        args: The arguments; a new object after each merge.
        config: The model's configuration.
        tokenizer: Its tokenizer.
        device: Where it runs.
        labels: The label map, for tasks that have labels; None until they are known.
        results: The scores of the last evaluation.
    """

    args_class: ClassVar[type[ModelArgs]] = ModelArgs
    auto_class: ClassVar[str]
    columns: ClassVar[Columns] = Columns()
    tokenizer_options: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        model_type: str | None = None,
        model_name: str | Path | None = None,
        *,
        args: Mapping[str, Any] | ModelArgs | None = None,
        use_cuda: bool | None = None,
        cuda_device: int = -1,
        tokenizer_name: str | None = None,
        tokenizer_type: str | None = None,
        sweep_config: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Read arguments, configuration and tokenizer; the weights are loaded when they are first used.

        Args:
            model_type: The architecture, such as "bert"; "auto" or None reads it from the checkpoint. Alone it is
                taken as the model's name.
            model_name: A local folder, a hub name, or "starter".
            args: Arguments as a dict or an object of `args_class`.
            use_cuda: None takes the best device there is; True demands CUDA; False keeps off it.
            cuda_device: Which CUDA device; -1 for the current one.
            tokenizer_name: A tokenizer other than the model's own.
            tokenizer_type: The tokenizer's class name in transformers.
            sweep_config: Values chosen by a hyperparameter sweep.
            **kwargs: For `from_pretrained`, such as `revision`, `proxies` or `token`.

        Raises:
            ArgumentError: For unknown arguments and values out of bounds.
            ModelNotFoundError: If there is no such model.
            CheckpointError: If the folder was written by another class.
            DeviceError: If the device is not there.
        """
        if model_name is None:
            model_type, model_name = None, model_type
        if model_name is None:
            raise ArgumentError(f'{type(self).__name__} needs a model name, such as "starter" or a folder.')
        self._source = loading.resolve_name(model_name)
        saved = read_saved(self._source)
        self._check_writer(saved.get("model_class"))
        self.args = resolve(self.args_class, saved=saved, given=args, sweep=sweep_config)
        self.device = resolve_device(use_cuda, cuda_device)
        self._options = {**kwargs, "trust_remote_code": self.args.trust_remote_code}
        self.config: Any = loading.load_config(self._source, options=self._options, changes=self.args.config)
        loading.check_type(model_type, self.config, str(model_name))
        self.args = self.args.merged(
            {
                "model_name": str(model_name),
                "model_type": self.config.model_type,
                "model_class": type(self).__name__,
                "tokenizer_name": tokenizer_name or self.args.tokenizer_name,
                "tokenizer_type": tokenizer_type or self.args.tokenizer_type,
            }
        )
        self.tokenizer: Any = self._load_tokenizer()
        self.labels: LabelMap | None = None
        self.results: dict[str, Any] = {}
        self.trained = False
        self.head_seed = self.args.manual_seed or 0
        self._model: Any = None

    # The hooks

    def prepare(self, frame: pd.DataFrame, split: str, name: str) -> Dataset:
        """Return the features of a frame: model inputs, `row` and `length`; with labels unless predicting.

        Args:
            frame: Rows with our column names.
            split: "train", "eval" or "predict". In training, labels are learnt here.
            name: What to call the rows in messages.
        """
        raise NotImplementedError

    def decode(self, outputs: Outputs, data: TaskData) -> Any:
        """Return the task's answers: one per row of the frame, whatever the features."""
        raise NotImplementedError

    def score(self, answers: Any, data: TaskData, metrics: Mapping[str, Metric]) -> dict[str, Any]:
        """Return the scores of answers, custom metrics included."""
        raise NotImplementedError

    def evaluation(self, result: dict[str, Any], answers: Any, data: TaskData) -> Any:
        """Return what `eval_model` returns."""
        raise NotImplementedError

    def prediction(self, answers: Any, data: TaskData) -> Any:
        """Return what `predict` returns."""
        raise NotImplementedError

    def collator(self) -> Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]]:
        """Return what makes a padded batch of features."""
        from transformers import DataCollatorWithPadding

        return DataCollatorWithPadding(self.tokenizer)

    def reduce(self, outputs: Any, batch: Mapping[str, torch.Tensor]) -> Any:
        """Return, on the device, what the answers need of a model output: one tensor per feature."""
        return outputs.logits

    def loss(self) -> LossFunction | None:
        """Return a loss in place of the model's own, or None."""
        return None

    def head_config(self) -> dict[str, Any]:
        """Return what the head needs in the model's configuration."""
        return {} if self.labels is None else self.labels.for_config()

    # The lifecycle

    def train_model(
        self,
        train_data: Any = None,
        output_dir: str | Path | None = None,
        show_running_loss: bool = True,
        args: Mapping[str, Any] | ModelArgs | None = None,
        eval_data: Any = None,
        verbose: bool = True,
        **kwargs: Any,
    ) -> TrainResult:
        """Train on rows, and save the model.

        Args:
            train_data: A DataFrame, a path to csv, tsv, json, jsonl or parquet, a list of rows, or a Dataset.
            output_dir: Where to save; instead of `args.output_dir`.
            show_running_loss: False shows no bar.
            args: Arguments to change, for this and later calls.
            eval_data: Rows to evaluate on while training, with `evaluate_during_training`.
            verbose: False logs nothing.
            **kwargs: Custom metrics as `name=function(truth, predictions)`; `text_column=`, `labels_column=` ... where
                column names differ; `eval_df=`; `resume_from_checkpoint=` True or a folder.

        Raises:
            DataError: If something is wrong with the rows.
            OutputDirError: If the folder is not empty and `overwrite_output_dir` is not set.
            NonFiniteLossError: If training diverges.
        """
        from easytx.core.fitting import fit

        call = read_call("train_model", kwargs, data=train_data, evaluation=eval_data, columns=self.columns.all(),
                         options=("resume_from_checkpoint",))
        self.args = self.args.merged(args)
        return fit(self, call, output_dir=Path(output_dir or self.args.output_dir), show=verbose and show_running_loss)

    def eval_model(
        self,
        eval_data: Any = None,
        output_dir: str | Path | None = None,
        verbose: bool = True,
        silent: bool = False,
        wandb_log: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Score the model on rows with labels, and write `eval_results.txt` and `eval_results.json`.

        Args:
            eval_data: As for `train_model`.
            output_dir: Where to write; instead of `args.output_dir`.
            verbose: False shows no bar.
            silent: True shows no bar.
            wandb_log: Whether a run that is open gets the scores.
            **kwargs: Custom metrics and column names as for `train_model`.

        Raises:
            DataError: If something is wrong with the rows.
        """
        call = read_call("eval_model", kwargs, data=eval_data, columns=self.columns.all())
        data = self.prepared(call.data, name="eval_df", split="eval", renames=call.renames)
        result, answers = self.evaluated(data, call.metrics, show=verbose and not silent)
        saving.write_results(output_dir or self.args.output_dir, result)
        self.results = result
        return self.evaluation(result, answers, data)

    def predict(self, to_predict: Any, **kwargs: Any) -> Any:
        """Answer for each row, in order.

        Args:
            to_predict: A text, a list of texts or pairs, a Series, a DataFrame, or a path.
            **kwargs: Column names, such as `text_column=`, where they differ.

        Raises:
            DataError: If the rows have another form, or there are none.
        """
        return self.prediction(*self.answered(to_predict, kwargs))

    def save_model(self, output_dir: str | Path | None = None, results: Mapping[str, Any] | None = None) -> Path:
        """Write the model folder: weights, configuration, tokenizer, arguments and a card."""
        names = None if self.labels is None else self.labels.names
        folder = Path(output_dir or self.args.output_dir)
        return saving.save_model(folder, model=self.model, tokenizer=self.tokenizer, args=self.args,
                                 results=results or self.results, labels=names)

    def save_model_args(self, output_dir: str | Path) -> Path:
        """Write `model_args.json`."""
        return self.args.save(output_dir)

    def get_named_parameters(self) -> list[str]:
        """Return the names of all parameters, as `custom_parameter_groups` and `freeze` take them."""
        return [name for name, _ in self.model.named_parameters()]

    # The steps

    @property
    def model(self) -> Any:
        """The model with its weights, loaded when first asked for."""
        if self._model is None:
            self._model = self._load_weights()
        return self._model

    @model.setter
    def model(self, model: Any) -> None:
        self._model = model

    def prepared(self, rows: Any, *, name: str, split: str, renames: Mapping[str, str]) -> TaskData:
        """Return the caller's rows as features; everything wrong with them is said here."""
        from easytx.data.prepared import TaskData

        frame = self.read(rows, name=name, split=split, renames=renames)
        return TaskData(frame, self.prepare(frame, split, name), name=name, labelled=split != "predict")

    def read(self, rows: Any, *, name: str, split: str, renames: Mapping[str, str]) -> pd.DataFrame:
        """Return the caller's rows as a frame with our column names."""
        if split == "predict":
            return as_texts(rows, self.columns, name=name, args=self.args, renames=renames)
        return as_frame(rows, self.columns, name=name, args=self.args, renames=renames)

    def answered(self, to_predict: Any, kwargs: Mapping[str, Any]) -> tuple[Any, TaskData]:
        """Return answers for rows without labels, and the rows."""
        call = read_call("predict", kwargs, data=to_predict, columns=self.columns.all())
        data = self.prepared(call.data, name="to_predict", split="predict", renames=call.renames)
        return self.decode(self.outputs(data, show=True), data), data

    def evaluated(self, data: TaskData, metrics: Mapping[str, Metric], *, show: bool) -> tuple[dict[str, Any], Any]:
        """Return scores and answers for labelled rows; training and `eval_model` both come here."""
        outputs = self.outputs(data, show=show)
        answers = self.decode(outputs, data)
        loss = {} if outputs.loss is None else {"eval_loss": outputs.loss}
        return {**self.score(answers, data, metrics), **loss}, answers

    def outputs(self, data: TaskData, *, show: bool) -> Outputs:
        """Run the model over features."""
        from easytx.core.running import run_model

        return run_model(self, data, show=show and not self.args.silent)

    def precision(self) -> torch.dtype | None:
        """Return the dtype of mixed precision on this device, or None for float32."""
        return mixed_precision(self.args.fp16, self.device, bf16=self.args.bf16)

    def encoded(self, texts: list[str], pairs: list[str] | None, *, overlap: int | None, split: str,
                name: str, remedy: str) -> Dataset:
        """Return tokenised texts, from the cache where that is wanted, and warn about cut ones."""
        from easytx.core.running import encode_cached

        loading.check_max_length(self.args.max_seq_length, self.config, self.tokenizer, self._source)
        encoded = encode_cached(self, texts, pairs, overlap=overlap, split=split)
        warn_about_truncation(encoded.truncated, len(texts), self.args.max_seq_length, name=name, remedy=remedy)
        return encoded.dataset

    def set_labels(self, labels: LabelMap) -> None:
        """Take these labels; a model that is loaded but not trained gets a new head for them."""
        if self.labels == labels:
            return
        self.labels = labels
        if not self.trained:
            self._model = None

    def _check_writer(self, writer: str | None) -> None:
        if writer not in (None, type(self).__name__) and writer not in _ENCODER_ONLY:
            raise CheckpointError(
                f"'{self._source}' was written by {writer}, and this is {type(self).__name__}. "
                f"Open it with easytx.load('{self._source}')."
            )

    def _load_tokenizer(self) -> Any:
        from easytx.core.running import lower_cased

        args = self.args
        options = {**self._options, **self.tokenizer_options}
        name = loading.resolve_name(args.tokenizer_name) if args.tokenizer_name else self._source
        tokenizer = loading.load_tokenizer(name, options=options, tokenizer_type=args.tokenizer_type)
        if args.special_tokens_list:
            tokenizer.add_tokens(list(args.special_tokens_list), special_tokens=True)
        return lower_cased(tokenizer) if args.do_lower_case else tokenizer

    def _load_weights(self) -> Any:
        for name, value in self.head_config().items():
            setattr(self.config, name, value)
        model = loading.load_weights(self.auto_class, self._source, self.config, seed=self.head_seed,
                                     options=self._options)
        if len(self.tokenizer) > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(len(self.tokenizer), mean_resizing=False)
        return model.to(self.device)
