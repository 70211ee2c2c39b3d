"""One class, any number of labels, or a number, for a text and an image together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
from typing_extensions import override

from easytx.classification import data as rules
from easytx.classification import encoders
from easytx.classification.args import MultiModalClassificationArgs
from easytx.classification.data import Answers
from easytx.classification.folders import PLACES, Samples
from easytx.classification.fusion import TextImageConfig
from easytx.classification.kinds import MANY_LABELS, OneClass
from easytx.classification.model import ClassificationModel
from easytx.classification.multi_modal_results import MultiModalEvalResult
from easytx.classification.results import answer_frame
from easytx.config.model_args import ModelArgs
from easytx.core import loading
from easytx.core.results import TrainResult
from easytx.data.checks import texts_of, warn_about_duplicates
from easytx.data.frames import Columns
from easytx.data.images import IMAGE, ImageCollator, image_keys, need_pillow, stored_images, with_images
from easytx.data.prepared import TaskData
from easytx.data.tokenise import column, window_overlap, with_column

if TYPE_CHECKING:
    from datasets import Dataset


class MultiModalClassificationModel(ClassificationModel):
    """Classify texts that come with an image each; with `multi_label=True`, give each as many labels as fit.

    Example:
        >>> model = MultiModalClassificationModel("bert", "starter", vision_name="google/vit-base-patch16-224-in21k")
        >>> model.train_model(train_df)  # columns text, labels and images: paths, or Pillow images
        >>> result, model_outputs = model.eval_model(eval_df)
        >>> predictions, probabilities = model.predict({"text": ["What is on the table?"], "images": ["table.jpg"]})
    """

    args_class: ClassVar[type[ModelArgs]] = MultiModalClassificationArgs
    columns: Columns = Columns(texts=(("text", "images"),))
    batch_columns: ClassVar[tuple[str, ...]] = (IMAGE,)
    data_options: ClassVar[tuple[str, ...]] = PLACES
    train_options: ClassVar[tuple[str, ...]] = ("files_list", "auto_weights")
    eval_options: ClassVar[tuple[str, ...]] = ("files_list",)
    predict_options: ClassVar[tuple[str, ...]] = ("files_list",)

    def __init__(
        self,
        model_type: str | None = None,
        model_name: str | Path | None = None,
        multi_label: bool = False,
        label_list: Sequence[Any] | None = None,
        num_labels: int | None = None,
        pos_weight: Any = None,
        args: Mapping[str, Any] | ModelArgs | None = None,
        use_cuda: bool | None = None,
        cuda_device: int = -1,
        vision_name: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        """See `LabelledModel`; the text encoder is `model_name`, and the vision encoder `vision_name`.

        Args:
            model_type: The text encoder's architecture.
            model_name: Where the text encoder comes from, or a folder that this class has written.
            multi_label: Whether a row has any number of labels.
            label_list: All labels.
            num_labels: How many there are.
            pos_weight: A weight per label, or "balanced"; with `multi_label`, of its presence against its absence.
            args: Arguments; `vision_config` describes a new vision encoder where `vision_name` is not given.
            use_cuda: As for all classes.
            cuda_device: As for all classes.
            vision_name: Where the vision encoder comes from: a folder or a hub name.
            **kwargs: As for all classes.

        Raises:
            MissingExtraError: If Pillow is not installed.
            CheckpointError: If one of the two reads no text or no images.
        """
        need_pillow(type(self).__name__)
        named = {} if vision_name is None else {"vision_name": str(vision_name)}
        self._stated = {**named, **({"multi_label": True} if multi_label else {})}
        device: dict[str, Any] = {"use_cuda": use_cuda, "cuda_device": cuda_device}
        labels: dict[str, Any] = {"labels": label_list} if label_list is not None else {}
        labels |= {"num_labels": num_labels, "weight": pos_weight}
        super().__init__(model_type, model_name, args=args, **device, **labels, **kwargs)

    # The network

    @override
    def load_config(self, model_type: str | None) -> TextImageConfig:
        self.args = args = self.args.merged(self._stated)
        self.labels_exclude_each_other = not args["multi_label"]
        found = loading.load_config(self.source(), options=self._options, changes={})
        self._is_joined = isinstance(found, TextImageConfig)
        if not self._is_joined:
            seen = encoders.vision_config(args["vision_name"], args["vision_config"], self._options)
            found = TextImageConfig(found, seen, args["num_image_embeds"])
        config: TextImageConfig = found
        loading.changed(config.text_config, args.config)
        loading.check_type(model_type, config.text_config, self._name)
        return config

    @override
    def load_tokenizer(self) -> Any:
        place = self.source() if self._is_joined else self.args["vision_name"]
        self.image_processor = encoders.image_processor(place, self.config.vision_config, self._options)
        return super().load_tokenizer()

    @override
    def load_network(self) -> Any:
        if self._is_joined:
            return super().load_network()
        return self.with_all_tokens(
            encoders.joined(
                self.config, self.source(), self.args["vision_name"], seed=self.head_seed, options=self._options
            )
        )

    @override
    def write_network(self, folder: Path) -> None:
        super().write_network(folder)
        self.image_processor.save_pretrained(folder)

    # The rows

    @override
    def prepared(
        self,
        rows: Any,
        *,
        name: str,
        split: str,
        renames: Mapping[str, str],
        options: Mapping[str, Any] | None = None,
    ) -> TaskData:
        said = options or {}
        samples = Samples.of(said, self.args)
        if split == "train" and said.get("auto_weights"):
            self.weight = "balanced"
        frame = self.read(samples.rows(rows, name=name), name=name, split=split, renames=renames)
        frame = samples.located(frame, rows)
        return super().prepared(frame, name=name, split=split, renames={}, options=said)

    @override
    def prepare(self, frame: pd.DataFrame, split: str, name: str) -> Dataset:
        texts, images = texts_of(frame, "text", name=name), stored_images(frame["images"], name=name)
        targets = None if split == "predict" else self.targets(frame["labels"], split, name)
        if split == "train":
            warn_about_duplicates(self.compared(frame), ["text", "images"], name=name, what="text and image")
        overlap = window_overlap(self.tokenizer, self.args)
        features = self.encoded([texts], overlap=overlap, split=split, name=name)
        row = column(features, "row")
        if targets is not None:
            features = with_column(features, "labels", targets[row])
        return with_images(features, images, row, cost=encoders.image_cost(self.image_processor))

    @override
    def compared(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame[["text"]].assign(images=image_keys(frame["images"]))

    @override
    def collator(self) -> Callable[[list[dict[str, Any]]], Mapping[str, Any]]:
        return ImageCollator(super().collator(), self.image_processor)

    # The answers: those of one class a row, or of any number of labels

    @property
    @override
    def kind(self) -> OneClass:
        return MANY_LABELS if self.args["multi_label"] else super().kind

    @property
    def pos_weight(self) -> Any:
        """A weight per label, as it was given."""
        return self.weight

    @override
    def answer_labels(self, answers: Answers) -> Any:
        vectors = self.args["multi_label"] and not self.args["predict_names"]
        return answers.predicted if vectors else super().answer_labels(answers)

    @override
    def raw(self, answers: Answers) -> Any:
        return answers.logits[:, 0] if self.args["regression"] else answers.probabilities

    @override
    def evaluation(self, result: dict[str, Any], answers: Answers, data: TaskData) -> MultiModalEvalResult:  # type: ignore[override]
        table = None if self.args["regression"] else self.kind.table(self, answers, rules.targets_of(data))
        return MultiModalEvalResult(result, self.raw(answers), answer_frame(self, answers, data), table)

    # The methods, with what is said of samples where scripts of old say it

    @override
    def train_model(  # type: ignore[override]
        self,
        train_data: Any = None,
        files_list: Any = None,
        image_path: str | Path | None = None,
        text_label: str | None = None,
        labels_label: str | None = None,
        images_label: str | None = None,
        image_type_extension: str | None = None,
        data_type_extension: str | None = None,
        auto_weights: bool = False,
        output_dir: str | Path | None = None,
        show_running_loss: bool = True,
        args: Mapping[str, Any] | ModelArgs | None = None,
        eval_data: Any = None,
        verbose: bool = True,
        **kwargs: Any,
    ) -> TrainResult:
        """Train on rows, and save the model; see `BaseModel`.

        Args:
            train_data: A DataFrame with the columns `text`, `labels` and `images`; a list of dicts, a dict of lists, a
                path of a table; or a folder of samples, a JSON file each.
            files_list: The samples of a folder to read: their names, or a JSON file of them.
            image_path: The folder that image files lie in.
            text_label: What the texts are called, if not as in `args`.
            labels_label: The same of the labels.
            images_label: The same of the images.
            image_type_extension: What the names of image files lack at their end.
            data_type_extension: What sample files end in, if not in .json.
            auto_weights: Weigh labels by how rare they are.
            output_dir: As for `BaseModel`.
            show_running_loss: As for `BaseModel`.
            args: As for `BaseModel`.
            eval_data: As `train_data`.
            verbose: As for `BaseModel`.
            **kwargs: As for `BaseModel`; `eval_files_list=`.
        """
        given = (files_list, image_path, text_label, labels_label, images_label, image_type_extension)
        said = _said(*given, data_type_extension, auto_weights=auto_weights)
        return super().train_model(
            train_data, output_dir, show_running_loss, args, eval_data, verbose, **said, **kwargs
        )

    @override
    def eval_model(  # type: ignore[override]
        self,
        eval_data: Any = None,
        files_list: Any = None,
        image_path: str | Path | None = None,
        text_label: str | None = None,
        labels_label: str | None = None,
        images_label: str | None = None,
        image_type_extension: str | None = None,
        data_type_extension: str | None = None,
        output_dir: str | Path | None = None,
        verbose: bool = True,
        silent: bool = False,
        **kwargs: Any,
    ) -> MultiModalEvalResult:
        """Score the model on rows with labels; arguments as for `train_model` and `BaseModel.eval_model`."""
        given = (files_list, image_path, text_label, labels_label, images_label, image_type_extension)
        found: MultiModalEvalResult = super().eval_model(
            eval_data, output_dir, verbose, silent, **_said(*given, data_type_extension), **kwargs
        )
        return found

    @override
    def predict(
        self,
        to_predict: Any,
        image_path: str | Path | None = None,
        image_type_extension: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Answer for each row, in order; see `BaseModel`.

        Args:
            to_predict: A dict of lists, `text` and `images`; a list of pairs of text and image; a DataFrame; a folder.
            image_path: The folder that image files lie in.
            image_type_extension: What their names lack at their end.
            **kwargs: As for all classes.
        """
        said = {"image_path": image_path, "image_type_extension": image_type_extension}
        return super().predict(to_predict, **said, **kwargs)

    def calculate_weights(self, train_data: Any, **kwargs: Any) -> list[float]:
        """Return the weight of each label that `train_model(..., auto_weights=True)` works out, in their order.

        Args:
            train_data: As for `train_model`.
            **kwargs: What `train_model` takes to say where rows are.
        """
        before, self.weight = self.weight, "balanced"
        try:
            self.prepared(train_data, name="train_df", split="train", renames={}, options=kwargs)
            return list(self.label_weights() or [])
        finally:
            self.weight, self._weights = before, None


def _said(files_list: Any, *places: Any, **more: Any) -> dict[str, Any]:
    """Return what a call says of its samples as keyword arguments; what it is silent about is left out."""
    given = {"files_list": files_list, **dict(zip(PLACES, places, strict=True)), **more}
    return {name: value for name, value in given.items() if value is not None}
