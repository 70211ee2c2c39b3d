"""A checkpoint in use: arguments, configuration and tokenizer at once, weights when first needed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from easytx.config.args_object import read_saved
from easytx.config.fields import names_of
from easytx.config.global_args import resolve
from easytx.config.model_args import ModelArgs
from easytx.core import loading, onnx, saving
from easytx.core.layout import Layout
from easytx.errors import ArgumentError, CheckpointError
from easytx.training.precision import mixed_precision, resolve_device
from easytx.training.quantise import check_int8_device
from easytx.training.tracking_record import RunRecord, read_run

if TYPE_CHECKING:
    import torch

    from easytx.core.results import QuantizeResult
    from easytx.data.labels import LabelMap

# Classes whose folders any task may start from.
_ENCODER_ONLY = {"LanguageModelingModel", "RepresentationModel"}


class CheckpointedModel:
    """Arguments, configuration, tokenizer, device and weights of a model.

    Attributes:
        args: The arguments; a new object after each merge.
        config: The model's configuration.
        tokenizer: Its tokenizer.
        device: Where it runs.
        labels: The label map, for tasks that have labels; None until they are known.
        results: The scores of the last evaluation.
        trained: Whether the weights in memory have been trained here.
        head_seed: What a new head is drawn with.
        layout: What the network reads of where on a page words stand.
        gives_boxes: Whether rows may have boxes, for networks that read these.
        is_sweeping: Whether a sweep has chosen arguments.
        run_record: The tracker's run that it was trained in, here or before it was saved.
    """

    args_class: ClassVar[type[ModelArgs]] = ModelArgs
    auto_class: ClassVar[str]
    tokenizer_options: Mapping[str, Any] = {}
    may_be_new: ClassVar[bool] = False
    # Whether a folder that any other class wrote is welcome.
    opens_any: ClassVar[bool] = False
    # Classes whose folders are as good as own ones, arguments included.
    kin: ClassVar[tuple[str, ...]] = ()
    layout: Layout = Layout()
    gives_boxes: ClassVar[bool] = False

    def __init__(
        self,
        model_type: str | None = None,
        model_name: str | Path | None = None,
        args: Mapping[str, Any] | ModelArgs | None = None,
        use_cuda: bool | None = None,
        cuda_device: int = -1,
        *,
        tokenizer_name: str | None = None,
        tokenizer_type: str | None = None,
        sweep_config: Mapping[str, Any] | None = None,
        onnx_execution_provider: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Read arguments, configuration and tokenizer; the weights are loaded when they are first used.

        Args:
            model_type: The architecture, such as "bert"; "auto" or None reads it from the checkpoint. Alone it
                is taken as the model's name.
            model_name: A local folder, a hub name, or "starter".
            args: Arguments as a dict or an object of `args_class`.
            use_cuda: None takes the best device there is; True demands CUDA; False keeps off it.
            cuda_device: Which CUDA device; -1 for the current one.
            tokenizer_name: A tokenizer other than the model's own.
            tokenizer_type: The tokenizer's class name in transformers.
            sweep_config: Values chosen by a hyperparameter sweep.
            onnx_execution_provider: What ONNX Runtime computes with, such as "CPUExecutionProvider", for a model that
                `convert_to_onnx` has written; None takes the device's.
            **kwargs: For `from_pretrained`, such as `revision`, `proxies` or `token`.

        Raises:
            ArgumentError: For unknown arguments and values out of bounds, and where there is no model name.
            ModelNotFoundError: If there is no such model.
            CheckpointError: If the folder was written by another class.
            DeviceError: If the device is not there, or there are no int8 weights on it.
        """
        if model_name is None and not self.may_be_new:
            model_type, model_name = None, model_type
        if model_name is None and not self.may_be_new:
            raise ArgumentError(f'{self.class_name} needs a model name, such as "starter" or a folder.')
        own = inspect.signature(type(self).__init__).parameters
        options = loading.accepted_options(kwargs, self.class_name, names_of(self.args_class), own)
        self._name = str(model_name)
        self._source = None if model_name is None else loading.resolve_name(model_name)
        saved = {} if self._source is None else read_saved(self._source)
        self._check_writer(saved.get("model_class"))
        if saved.get("model_class") not in (None, self.class_name, *self.kin):
            # How another task was trained says nothing of this one.
            saved = {}
        self.args = resolve(self.args_class, saved=saved, given=args, sweep=sweep_config)
        self.device = resolve_device(use_cuda, cuda_device)
        self._provider = onnx_execution_provider
        self._options = {**options, "trust_remote_code": self.args.trust_remote_code}
        self.config: Any = self.load_config(model_type)
        self.args = self.args.merged(
            {
                "model_name": None if model_name is None else str(model_name),
                "model_type": self.config.model_type,
                "model_class": self.class_name,
                "tokenizer_name": tokenizer_name or self.args.tokenizer_name,
                "tokenizer_type": tokenizer_type or self.args.tokenizer_type,
                "onnx": onnx.runs_as_onnx(self.args.onnx, self._source, onnx_execution_provider),
            }
        )
        if self.args.dynamic_quantize and not self.args.onnx:
            check_int8_device("dynamic_quantize", self.device)
        self.tokenizer: Any = self.load_tokenizer()
        if getattr(self.text_config, "pad_token_id", None) is None:
            self.text_config.pad_token_id = self.tokenizer.pad_token_id
        self.labels: LabelMap | None = None
        self.results: dict[str, Any] = {}
        self.trained = False
        self.head_seed = self.args.manual_seed or 0
        self.is_sweeping = sweep_config is not None
        self.run_record: RunRecord | None = None if self._source is None else read_run(self._source)
        self._model: Any = None

    @property
    def class_name(self) -> str:
        """What users, messages and saved folders call the class."""
        return type(self).__name__

    @property
    def wandb_run_id(self) -> str | None:
        """The id of the Weights & Biases run that the model was trained in."""
        return None if self.run_record is None else self.run_record.id

    @property
    def wandb_run_name(self) -> str | None:
        """The name of that run; None for one that the server has not named."""
        return None if self.run_record is None else self.run_record.name

    @property
    def wandb_url(self) -> str | None:
        """Where that run is shown; None for one that is on this machine only."""
        return None if self.run_record is None else self.run_record.url

    @property
    def target_tokenizer(self) -> Any:
        """The tokenizer of the texts that are written; that of the inputs too, unless two models were put together."""
        return self.tokenizer

    @property
    def model(self) -> Any:
        """The model with its weights, loaded when first asked for."""
        if self._model is None:
            for name, value in self.head_config().items():
                setattr(self.config, name, value)
            self._model = self.load_network().to(self.device)
        return self._model

    @model.setter
    def model(self, model: Any) -> None:
        self._model = model

    # What is read from and written to a folder. A task whose model has several parts overrides these.

    def load_config(self, model_type: str | None) -> Any:
        """Return the model's configuration, with the changes that `args.config` asks for."""
        source = self.source()
        config = loading.load_config(
            source, options=self._options, changes=self.args.config, gives_boxes=self.gives_boxes
        )
        loading.check_type(model_type, config, self._name)
        return config

    def load_tokenizer(self) -> Any:
        """Return the tokenizer, with the changes that the arguments ask for."""
        name = self.args.tokenizer_name
        return self.tokenizer_from(
            loading.resolve_tokenizer(name) if name else self.tokenizer_source(), self.text_config
        )

    def tokenizer_from(self, name: str, config: Any) -> Any:
        """Return the tokenizer of a folder or a hub name, for a model of this configuration.

        Raises:
            CheckpointError: If the checkpoint has several, as one that looks up passages does.
        """
        args = self.args
        options = {**self._options, **self.tokenizer_options}
        tokenizer = loading.load_tokenizer(name, options=options, tokenizer_type=args.tokenizer_type)
        if not hasattr(tokenizer, "pad_token"):
            raise CheckpointError(
                f"'{name}' has a tokenizer for each of its parts. Open it with Seq2SeqModel and encoder_decoder_type="
                "'rag-token' or 'rag-sequence'."
            )
        if getattr(config, "type_vocab_size", 0) > 1 and "token_type_ids" not in tokenizer.model_input_names:
            # ALBERT tells the two texts of a pair apart, but its tokenizer does not say so unasked.
            tokenizer.model_input_names = [*tokenizer.model_input_names, "token_type_ids"]
        if args.special_tokens_list:
            tokenizer.add_tokens(list(args.special_tokens_list), special_tokens=True)
        return loading.with_padding(loading.lower_cased(tokenizer) if args.do_lower_case else tokenizer)

    def load_network(self) -> Any:
        """Return the model with its weights, in float32, on the CPU; `self.config` is its configuration."""
        if self.args.onnx:
            network = onnx.opened(self, self._provider)
            self.device = network.exported.device
            return network
        model = loading.load_weights(
            self.auto_class, self.source(), self.config, seed=self.head_seed, options=self._options
        )
        return self.with_all_tokens(model)

    def with_all_tokens(self, model: Any) -> Any:
        """Return a model that has an embedding for every token of the tokenizer."""
        if len(self.tokenizer) > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(len(self.tokenizer), mean_resizing=False)
        return model

    def write_network(self, folder: Path) -> None:
        """Write weights, configuration and tokenizer."""
        with loading.quiet():
            self.model.save_pretrained(folder)
        saving.write_tokenizer(self.tokenizer, folder)

    def weights_in(self, folder: Path) -> Mapping[str, torch.Tensor]:
        """Return the weights that `write_network` has left in a folder, by the names of the model in memory."""
        model = self.model
        with loading.quiet():
            state: Mapping[str, torch.Tensor] = (
                type(model).from_pretrained(folder, config=model.config, dtype=model.dtype).state_dict()
            )
        return state

    @property
    def text_config(self) -> Any:
        """The configuration of what reads the texts, where a model has other parts besides."""
        return getattr(self.config, "text_config", self.config)

    def source(self) -> str:
        """Return the folder or hub name that the model comes from."""
        if self._source is None:
            raise ArgumentError(f'{self.class_name} needs a model name, such as "starter" or a folder.')
        return self._source

    def tokenizer_source(self) -> str:
        """Return the folder or hub name that the tokenizer comes from, unless the arguments name another."""
        return self.source()

    def head_config(self) -> dict[str, Any]:
        """Return what the head needs in the model's configuration."""
        return {} if self.labels is None else self.labels.for_config()

    def set_labels(self, labels: LabelMap) -> None:
        """Take these labels; a model that is loaded but not trained gets a new head for them."""
        if self.labels == labels:
            return
        self.labels = labels
        if not self.trained:
            self._model = None

    def precision(self) -> torch.dtype | None:
        """Return the dtype of mixed precision on this device, or None for float32 and for what ONNX Runtime runs."""
        if self.args.onnx:
            return None
        safe = not loading.overflows_in_fp16(self.text_config)
        return mixed_precision(self.args.fp16, self.device, bf16=self.args.bf16, allow_fp16=safe)

    def save_model(
        self,
        output_dir: str | Path | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
        model: torch.nn.Module | None = None,
        results: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the model folder: weights, configuration, tokenizer, arguments and a card.

        Args:
            output_dir: Instead of `args.output_dir`.
            optimizer: Its state is written too, as `optimizer.pt`.
            scheduler: Its state is written too, as `scheduler.pt`.
            model: The network to save; None for the one in memory.
            results: Scores for the card; None for those of the last evaluation.
        """
        own = self.model
        # What parallel launches wrap a network in is not saved.
        self.model = own if model is None else getattr(model, "module", model)
        try:
            folder = saving.save_model(
                Path(output_dir or self.args.output_dir),
                self.write_network,
                args=self.args,
                size=(type(self.model).__name__, self.model.num_parameters()),
                results=self.results if results is None else results,
                labels=None if self.labels is None else self.labels.names,
                run=self.run_record,
            )
        finally:
            self.model = own
        saving.write_states(folder, {"optimizer": optimizer, "scheduler": scheduler})
        return folder

    def save_model_args(self, output_dir: str | Path) -> Path:
        """Write `model_args.json`."""
        return self.args.save(output_dir)

    def convert_to_onnx(self, output_dir: str | Path | None = None, set_onnx_arg: bool = True) -> Path:
        """Write the model as ONNX, to a folder that opens like any other and is run by ONNX Runtime.

        Args:
            output_dir: An empty or new folder; by default `onnx` under `args.output_dir`.
            set_onnx_arg: Whether the arguments saved there say `onnx`. The model in memory stays as it is.

        Raises:
            CheckpointError: If this class or architecture cannot be exported.
            MissingExtraError: If `pip install 'easytx[onnx]'` has not been run.
            OutputDirError: If the folder is not empty and `overwrite_output_dir` is not set.
        """
        return onnx.export(self, Path(output_dir or Path(self.args.output_dir) / "onnx"), set_onnx_arg=set_onnx_arg)

    def quantize(
        self,
        eval_data: Any = None,
        *,
        metric: str | None = None,
        bound: float | None = None,
        minimize: bool | None = None,
        **kwargs: Any,
    ) -> QuantizeResult:
        """Have the model predict on a CPU with int8 weights, if that costs little of its score on rows with labels.

        The rows are scored with the weights as they are and with int8 weights (`args.dynamic_quantize`, which
        `save_model` keeps). Where the score drops by more than the bound, the model stays as it was. Trainings
        afterwards use the float weights; as these change, int8 has to be earned again: at the end of a training that
        evaluates, which is what `args.quantize` asks for, or by another call.

        Args:
            eval_data: As for `eval_model`.
            metric: The score to compare, such as "accuracy"; None for `args.early_stopping_metric`.
            bound: The drop that is accepted, as a share of the score: 0.01, the usual default of quantisation tools,
                accepts 0.792 in place of 0.8. None for `args.quantize_bound`.
            minimize: Whether a lower score is better; known for all scores but those of your own.
            **kwargs: Custom metrics, column names and options as for `eval_model`.

        Raises:
            ScoreDropError: If the score drops by more than the bound; both scores are named.
            ArgumentError: If there is no such score.
            DataError: If something is wrong with the rows.
            DeviceError: If the model is not on a CPU.
            UnsupportedError: If the class has no scores, or this torch no int8 layers.
        """
        from easytx.core.quantising import quantize

        model: Any = self
        return quantize(model, eval_data, metric=metric, bound=bound, minimize=minimize, kwargs=kwargs)

    def get_named_parameters(self) -> list[str]:
        """Return the names of all parameters, as `custom_parameter_groups` and `freeze` take them."""
        return [name for name, _ in self.model.named_parameters()]

    def frozen_names(self) -> Sequence[str]:
        """Return the beginnings of the names of parameters that are not trained."""
        return self.args.freeze

    def _check_writer(self, writer: str | None) -> None:
        welcome = self.opens_any or writer in (*_ENCODER_ONLY, *self.kin)
        if writer not in (None, self.class_name) and not welcome:
            raise CheckpointError(
                f"'{self._source}' was written by {writer}, and this is {self.class_name}. "
                f"Open it with easytx.load('{self._source}')."
            )
