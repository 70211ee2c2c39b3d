"""The lifecycle of every model class: construct, train, evaluate, predict, save."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from easytx.config.model_args import ModelArgs
from easytx.core import loading, saving
from easytx.core.calls import Call, Metric, read_call
from easytx.core.checkpointed import CheckpointedModel
from easytx.core.results import TrainResult
from easytx.data.checks import warn_about_truncation
from easytx.data.frames import Columns, as_frame, as_texts
from easytx.data.padding import Padding
from easytx.errors import UnsupportedError

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from datasets import Dataset

    from easytx.data.prepared import TaskData
    from easytx.training.course import Course
    from easytx.training.inference import Outputs
    from easytx.training.judged import Judged
    from easytx.training.losses import LossFunction


class BaseModel(CheckpointedModel):
    """What all model classes share. A task states the attributes below and writes the hooks.

    To add a task: state `args_class`, `auto_class` and `columns`; write `prepare`, `decode`, `score`, `evaluation`
    and `prediction`; override `collator`, `reduce` and `loss` where the defaults do not serve.
    """

    columns: Columns = Columns()
    # What to do where a method is called without data.
    data_remedy: ClassVar[str] = "give it as the first argument"
    predict_options: ClassVar[tuple[str, ...]] = ()
    # What a call may say of its rows, such as where they lie: any call; `train_model` of the training rows alone;
    # `eval_model`, and `train_model` of the evaluation rows, as `eval_...`.
    data_options: ClassVar[tuple[str, ...]] = ()
    train_options: ClassVar[tuple[str, ...]] = ()
    eval_options: ClassVar[tuple[str, ...]] = ()
    # What to use instead for training, of a class that only predicts.
    only_predicts: ClassVar[str] = ""
    # Columns of a dataset that the collator reads besides those that the network takes.
    batch_columns: ClassVar[tuple[str, ...]] = ()
    # Whether a token's label is the next token, as in causal language models.
    shifts_labels: ClassVar[bool] = False

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

    def write(self, folder: Path, result: dict[str, Any], answers: Any, data: TaskData) -> None:
        """Write what `eval_model` leaves on disk."""
        saving.write_results(folder, result)

    def collator(self) -> Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]]:
        """Return what makes a padded batch of features."""
        return Padding(self.tokenizer)

    def reduce(self, outputs: Any, batch: Mapping[str, torch.Tensor]) -> Any:
        """Return, on the device, what the answers need of a model output: one tensor per feature."""
        return outputs.logits

    def loss(self) -> LossFunction | None:
        """Return a loss in place of the model's own, or None."""
        return None

    def course(self, data: TaskData, collator: Any, loss: LossFunction | None) -> Course | None:
        """Return what changes, from epoch to epoch or step to step, while the rows are trained on; None for nothing."""
        return None

    def judged(self, answers: Any, data: TaskData) -> Judged | None:
        """Return answers to labelled rows as trackers show them, or None for scores only."""
        return None

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
                column names differ; `eval_df=`; `resume_from_checkpoint=` True, a folder, or an artifact
                `wandb:entity/project/name:alias`; `callbacks=`, a list of transformers' TrainerCallback.

        Raises:
            DataError: If something is wrong with the rows.
            OutputDirError: If the folder is not empty and `overwrite_output_dir` is not set.
            NonFiniteLossError: If training diverges.
            UnsupportedError: If the class only predicts.
        """
        from easytx.core.fitting import fit

        self._check_trains()
        call = self._call(
            "train_model",
            kwargs,
            data=train_data,
            evaluation=eval_data,
            options=(
                *("resume_from_checkpoint", "callbacks", *self.data_options, *self.train_options),
                *(f"eval_{option}" for option in self.eval_options),
            ),
            output_dir=output_dir,
        )
        # What is evaluated later belongs to this training.
        self.args = self.args.merged(args).merged({"output_dir": str(output_dir)} if output_dir else None)
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
            wandb_log: False keeps the scores from the tracker's run.
            **kwargs: Custom metrics and column names as for `train_model`, and the task's `eval_options`.

        Raises:
            DataError: If something is wrong with the rows.
            UnsupportedError: If the class only predicts.
        """
        from easytx.core.running import is_main_process
        from easytx.core.tracking import record_evaluation

        self._check_trains()
        options = (*self.data_options, *self.eval_options)
        call = self._call("eval_model", kwargs, data=eval_data, options=options, output_dir=output_dir)
        data = self.prepared(call.data, name="eval_df", split="eval", renames=call.renames, options=call.options)
        result, answers = self.evaluated(data, call.metrics, show=verbose and not silent)
        if is_main_process():
            self.write(Path(output_dir or self.args.output_dir), result, answers, data)
        self.results = result
        evaluation = self.evaluation(result, answers, data)
        if wandb_log and is_main_process():
            record_evaluation(self, result, evaluation, answers, data)
        return evaluation

    def predict(self, to_predict: Any, **kwargs: Any) -> Any:
        """Answer for each row, in order.

        Args:
            to_predict: A text, a list of texts or pairs, a Series, a DataFrame, or a path.
            **kwargs: Column names, such as `text_column=`, where they differ, and the task's `predict_options`.

        Raises:
            DataError: If the rows have another form, or there are none.
        """
        return self.prediction(*self.answered(to_predict, kwargs))

    # The steps

    def prepared(
        self,
        rows: Any,
        *,
        name: str,
        split: str,
        renames: Mapping[str, str],
        options: Mapping[str, Any] | None = None,
    ) -> TaskData:
        """Return the caller's rows as features; everything wrong with them is said here."""
        from easytx.data.prepared import TaskData

        frame = self.read(rows, name=name, split=split, renames=renames)
        dataset = self.prepare(frame, split, name)
        return TaskData(frame, dataset, name=name, labelled=split != "predict", options=options or {})

    def read(self, rows: Any, *, name: str, split: str, renames: Mapping[str, str]) -> pd.DataFrame:
        """Return the caller's rows as a frame with our column names."""
        if split == "predict":
            return as_texts(rows, self.columns, name=name, args=self.args, renames=renames)
        return as_frame(rows, self.columns, name=name, args=self.args, renames=renames)

    def compared(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return what makes rows alike or different, as columns of plain values: texts, and what stands beside them."""
        beside = {name: frame[name].astype(str) for name in self.columns.beside if name in frame}
        return frame[list(self.columns.texts_in(frame))].assign(**beside)

    def answered(self, to_predict: Any, kwargs: Mapping[str, Any]) -> tuple[Any, TaskData]:
        """Return answers for rows without labels, and the rows."""
        options = (*self.predict_options, *self.data_options)
        call = self._call("predict", kwargs, data=to_predict, options=options)
        data = self.prepared(call.data, name="to_predict", split="predict", renames=call.renames, options=call.options)
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

    def encoded(self, texts: Sequence[list[Any]], *, overlap: int | None, split: str, name: str) -> Dataset:
        """Return tokenised texts, from the cache where that is wanted, and warn about cut ones.

        Args:
            texts: One list of texts, or two for pairs; a text may be a list of words.
            overlap: Tokens that neighbouring windows share; None cuts long texts.
            split: "train", "eval" or "predict".
            name: What to call the rows in messages.
        """
        from easytx.data.tokenise import encode, truncated_rows

        length = self.args.max_seq_length
        loading.check_max_length(length, self.text_config, self.tokenizer, str(self.args.model_name))
        dataset = self.cached(
            lambda: encode(self.tokenizer, *texts, max_length=length, overlap=overlap), split, *texts, overlap
        )
        windows = "sliding_window=True to read all of them, or " if "sliding_window" in self.args else ""
        remedy = f"Set {windows}a higher max_seq_length."
        warn_about_truncation(truncated_rows(dataset), len(texts[0]), length, name=name, remedy=remedy)
        return dataset

    def cached(self, make: Callable[[], Dataset], split: str, *made_from: Any) -> Dataset:
        """Return tokenised data; where the arguments ask for it, from `cache_dir`, where it is kept.

        Args:
            make: Makes it.
            split: "train", "eval" or "predict".
            *made_from: The texts and settings it is made from, besides the tokenizer and max_seq_length.
        """
        from easytx.data import cache, tables

        reads = not self.args.reprocess_input_data or (split == "eval" and self.args.use_cached_eval_features)
        with tables.large_data_in(None if split == "predict" else self.args.cache_dir):
            if self.args.no_cache or split == "predict" or not reads:
                return make()
            name = cache.fingerprint(self.tokenizer, self.args.max_seq_length, type(self).__name__, *made_from)
            return cache.kept(self.args.cache_dir, f"{split}-{name}", make)

    def _call(self, method: str, kwargs: Mapping[str, Any], **given: Any) -> Call:
        given |= {"columns": self.columns.all(), "arguments": self.args, "remedy": self.data_remedy}
        return read_call(method, kwargs, **given)

    def _check_trains(self) -> None:
        if self.only_predicts:
            raise UnsupportedError(f"{type(self).__name__} only predicts. {self.only_predicts}")
