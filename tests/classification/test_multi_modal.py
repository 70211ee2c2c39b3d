"""Texts with images: where they come from, what goes wrong, what comes out."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from PIL import Image

import easytx
from easytx.classification import MultiModalClassificationArgs, MultiModalClassificationModel
from easytx.errors import ArgumentError, CheckpointError, DataError, LabelError, MissingExtraError, ModelNotFoundError
from easytx.testing import VISION_ARCHITECTURES, tiny_vision_checkpoint
from easytx.training.tracking_config import data_fingerprint

from .conftest import SETTINGS

TEXTS = ["good food", "a long train", "food on the train", "a sad song", "the film", "a cat"]
COLOURS = ["red", "blue", "red", "blue", "green", "green"]


def _picture(colour: str, size: tuple[int, int] = (24, 20)) -> Image.Image:
    return Image.new("RGB", size, colour)


def _bytes(picture: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind)
    return buffer.getvalue()


def _frame(labels: list[Any] | None = None, images: list[Any] | None = None) -> pd.DataFrame:
    columns = {"text": TEXTS, "labels": labels or COLOURS, "images": images or [_picture(colour) for colour in COLOURS]}
    return pd.DataFrame(columns, index=[*"fedcba"])


@pytest.fixture(scope="session")
def vision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vision_checkpoint(tmp_path_factory.mktemp("vision"))


@pytest.fixture
def make(checkpoint: Path, vision: Path) -> Callable[..., Any]:
    def make(*, args: dict[str, Any] | None = None, **options: Any) -> Any:
        given = {"vision_name": vision, **options}
        return MultiModalClassificationModel(
            "bert", checkpoint, use_cuda=False, args={**SETTINGS, "fp16": False, **(args or {})}, **given
        )

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of samples, one JSON file each, with images beside them."""
    place = tmp_path / "samples"
    place.mkdir()
    for number, (text, colour) in enumerate(zip(TEXTS, COLOURS, strict=True)):
        _picture(colour).save(place / f"{number}.png")
        sample = {"text": text, "labels": colour, "images": f"{number}.png"}
        (place / f"{number}.json").write_text(json.dumps(sample), encoding="utf-8")
    return place


def test_what_the_methods_return(make: Any) -> None:
    model = make()
    global_step, details = model.train_model(_frame())
    assert (global_step, type(details)) == (2, float)
    evaluation = model.eval_model(_frame(), wrong=lambda truth, predicted: int((truth != predicted).sum()))
    result, model_outputs = evaluation
    assert {"mcc", "accuracy", "f1_macro", "eval_loss", "wrong"} <= set(result)
    assert model_outputs.shape == (6, 3)
    np.testing.assert_allclose(model_outputs.sum(axis=1), 1, rtol=1e-5)
    rows = evaluation.to_frame()
    assert [*rows.index] == [*"fedcba"]
    assert [*rows.columns] == ["text", "labels", "images", "prediction", "probability"]
    assert [*evaluation.table.index] == ["blue", "green", "red"]
    predictions, outputs = model.predict({"text": TEXTS, "images": [_picture(colour) for colour in COLOURS]})
    assert predictions == rows["prediction"].tolist()
    np.testing.assert_array_equal(outputs, model_outputs)
    assert [*model.predict_proba(_frame()).columns] == ["blue", "green", "red"]


def test_two_classes_have_their_counts(make: Any) -> None:
    model = make()
    labels = ["yes", "no"] * 3
    model.train_model(_frame(labels))
    result, _ = model.eval_model(_frame(labels))
    assert result["tp"] + result["tn"] + result["fp"] + result["fn"] == 6


def test_it_learns_what_only_the_image_tells(make: Any) -> None:
    frame = _frame().assign(text="what is it")
    model = make(args={"learning_rate": 1e-2, "num_train_epochs": 30})
    with pytest.warns(UserWarning, match=r"^train_df has 3 rows with the same text and image as an earlier row\.$"):
        model.train_model(frame)
    assert model.predict(frame).predictions == COLOURS


def test_it_learns_what_only_the_text_tells(make: Any) -> None:
    frame = _frame(["a", "b"] * 3, [_picture("red")] * 6)
    model = make(args={"learning_rate": 1e-2, "num_train_epochs": 30})
    model.train_model(frame)
    assert model.predict(frame).predictions == ["a", "b"] * 3


def test_several_labels(make: Any) -> None:
    names = [["red"], ["blue", "dark"], ["red"], ["blue", "dark"], [], ["dark"]]
    model = make(multi_label=True, args={"threshold": 0.0001})
    model.train_model(_frame(names))
    assert model.predict(_frame()).predictions == [["blue", "dark", "red"]] * 6
    result, model_outputs = model.eval_model(_frame(names))
    assert {"LRAP", "eval_loss"} <= set(result)
    assert model_outputs.shape == (6, 3)
    again = easytx.load("outputs", use_cuda=False)
    assert again.args["multi_label"]
    assert again.predict(_frame()).predictions == [["blue", "dark", "red"]] * 6


def test_vectors_are_answered_by_an_array(make: Any) -> None:
    model = make(multi_label=True, num_labels=2)
    model.train_model(_frame([[1, 0], [0, 1]] * 3))
    predictions, outputs = model.predict(_frame())
    assert isinstance(predictions, np.ndarray)
    assert predictions.tolist() == (outputs >= 0.5).astype(int).tolist()


def test_one_class_only_is_refused_unless_labels_add_up(make: Any) -> None:
    with pytest.raises(LabelError, match=r"^train_df has one class only: 'red' in all 6 rows\."):
        make().train_model(_frame(["red"] * 6))
    make(multi_label=True).train_model(_frame([["red"], ["red", "blue"]] * 3))


def test_regression(make: Any) -> None:
    model = make(num_labels=1, args={"regression": True})
    model.train_model(_frame([0.5, 1, 2, 3.5, 4, 5]))
    evaluation = model.eval_model(_frame([0.5, 1, 2, 3.5, 4, 5]))
    assert {"rmse", "pearson", "eval_loss"} <= set(evaluation.result)
    assert evaluation.table is None
    predictions, outputs = model.predict(_frame())
    assert predictions.shape == outputs.shape == (6,)


# Weights


def test_weights_are_worked_out_as_training_would(make: Any) -> None:
    labels = ["a", "a", "a", "a", "b", "c"]
    model = make()
    assert model.calculate_weights(_frame(labels)) == [0.5, 2.0, 2.0]
    assert (model.weight, model.label_weights()) == (None, None)
    model.train_model(_frame(labels), auto_weights=True)
    assert model.label_weights() == [0.5, 2.0, 2.0]


def test_weights_of_several_labels_are_absences_over_presences(make: Any) -> None:
    model = make(multi_label=True)
    assert model.calculate_weights(_frame([["a"], ["a", "b"], ["a"], [], [], []])) == [1.0, 5.0]
    weighted, plain = make(multi_label=True, num_labels=2, pos_weight=[1.0, 9.0]), make(multi_label=True, num_labels=2)
    losses = [one.eval_model(_frame([[1, 1], [0, 1]] * 3)).result["eval_loss"] for one in (weighted, plain)]
    assert losses[0] > losses[1] + 0.1


# Where rows come from


@pytest.mark.parametrize("form", ["pictures", "arrays", "bytes", "paths", "names", "files", "dicts", "pairs"])
def test_images_in_any_form_are_answered_alike(form: str, make: Any, tmp_path: Path) -> None:
    pictures = [_picture(colour) for colour in COLOURS]
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
    images: dict[str, list[Any]] = {
        "pictures": pictures,
        "arrays": [np.asarray(picture) for picture in pictures],
        "bytes": [_bytes(picture) for picture in pictures],
        "paths": [tmp_path / f"{number}.png" for number in range(6)],
        "names": [f"{number}.png" for number in range(6)],
        "files": [str(number) for number in range(6)],
        "dicts": [{"bytes": _bytes(picture), "path": None} for picture in pictures],
        "pairs": pictures,
    }
    options = {"names": {"image_path": tmp_path}, "files": {"image_path": tmp_path, "image_type_extension": ".png"}}
    model = make(num_labels=3)
    expected = model.predict(_frame()).raw_outputs
    rows: Any = {"text": TEXTS, "images": images[form]}
    if form == "pairs":
        rows = [list(row) for row in zip(TEXTS, pictures, strict=True)]
    found = model.predict(rows, **options.get(form, {})).raw_outputs
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "I;16"])
def test_images_of_any_mode_are_read(mode: str, make: Any) -> None:
    picture = Image.new(mode, (40, 8))
    assert make(num_labels=2).predict([["a", picture]]).raw_outputs.shape == (1, 2)


def test_a_folder_of_samples(make: Any, folder: Path) -> None:
    model = make()
    model.train_model(str(folder))
    expected = model.predict(_frame()).raw_outputs
    _, model_outputs = model.eval_model(folder, files_list=["0", "1.json", "2"])
    np.testing.assert_allclose(model_outputs, expected[:3], rtol=1e-5)
    (folder / "dev.list").write_text('["3", "4"]', encoding="utf-8")
    _, model_outputs = model.eval_model(folder, files_list=str(folder / "dev.list"))
    np.testing.assert_allclose(model_outputs, expected[3:5], rtol=1e-5)
    np.testing.assert_allclose(model.predict(folder).raw_outputs, expected, rtol=1e-5)


def test_samples_with_names_and_endings_of_their_own(make: Any, folder: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, path in enumerate(sorted(folder.glob("*.json"))):
        sample = json.loads(path.read_text("utf-8"))
        path.unlink()
        (folder / f"{number}.png").rename(pictures / f"{number}.png")
        theirs = {"plot": sample["text"], "genre": sample["labels"], "poster": str(number)}
        (folder / f"{number}.sample").write_text(json.dumps(theirs), encoding="utf-8")
    places = {"image_path": str(pictures), "text_label": "plot", "labels_label": "genre", "images_label": "poster"}
    endings = {"image_type_extension": ".png", "data_type_extension": ".sample"}
    args = {"evaluate_during_training": True, "save_best_model": False}
    model = make(args=args)
    lists = {"files_list": ["0", "1", "2", "4"], "eval_files_list": ["3", "5"]}
    model.train_model(folder, eval_data=folder, **lists, **places, **endings)
    expected = model.predict(_frame()).raw_outputs
    np.testing.assert_allclose(model.eval_model(folder, **places, **endings)[1], expected, rtol=1e-5)
    said = {name: value for name, value in {**places, **endings}.items() if name != "image_path"}
    silent = make(num_labels=3, args=said)
    assert len(silent.predict(folder, image_path=pictures).predictions) == 6


def test_endings_need_no_dot_and_images_may_be_called_like_their_samples(make: Any, folder: Path) -> None:
    model = make(num_labels=3)
    expected = model.predict(folder).raw_outputs
    for path in folder.glob("*.json"):
        sample = json.loads(path.read_text("utf-8"))
        del sample["images"]
        path.write_text(json.dumps(sample), encoding="utf-8")
    endings = {"image_type_extension": "png", "data_type_extension": "json"}
    np.testing.assert_array_equal(model.predict(folder, **endings).raw_outputs, expected)
    named = _frame(images=["0", "1.png", "2", "3", "4", "5.png"])
    np.testing.assert_array_equal(model.predict(named, image_path=folder, **endings).raw_outputs, expected)


def test_columns_may_have_other_names(make: Any) -> None:
    frame = _frame().rename(columns={"text": "plot", "labels": "genre", "images": "poster"})
    kept = frame.copy()
    model = make()
    model.train_model(frame, text_label="plot", labels_label="genre", images_label="poster")
    model.eval_model(frame, text_column="plot", labels_column="genre", images_column="poster")
    pd.testing.assert_frame_equal(frame, kept)


def test_windows_of_a_long_text_share_their_image(make: Any) -> None:
    model = make(num_labels=2, args={"sliding_window": True, "max_seq_length": 8})
    long = "the film was a joy from the first scene to the last and I would watch it again"
    data = model.prepared([[long, _picture("red")], ["a", _picture("blue")]], name="x", split="predict", renames={})
    assert len(data.dataset) > 3
    colours = [image.getpixel((0, 0)) for image in data.dataset["image"]]
    assert colours == [(255, 0, 0)] * (len(data.dataset) - 1) + [(0, 0, 255)]
    assert len(model.predict([[long, _picture("red")], ["a", _picture("blue")]]).predictions) == 2


def test_images_are_kept_as_files_until_a_batch_needs_them(make: Any, tmp_path: Path) -> None:
    _picture("red", (400, 300)).save(tmp_path / "a.png")
    model = make(num_labels=2)
    data = model.prepared([["a", str(tmp_path / "a.png")]], name="x", split="predict", renames={})
    stored = data.dataset.with_format("arrow")[0]["image"].to_pylist()
    assert stored == [{"bytes": None, "path": str(tmp_path / "a.png")}]
    # Two tokens of text round one, and four patches of 16 by 16 pixels.
    assert data.dataset["length"][0] == 3 + 4


# What goes wrong


def _refused(call: Callable[[], Any]) -> str:
    with pytest.raises(DataError) as refused:
        call()
    return str(refused.value)


def test_images_that_cannot_be_read_are_named_before_a_model_is_loaded(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make()
    monkeypatch.setattr(model, "load_network", lambda: pytest.fail("loaded"))
    whole = _bytes(_picture("red", (64, 64)), "JPEG")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    cut = _bytes(Image.fromarray(noise), "JPEG")[:1500]
    message = _refused(lambda: model.train_model(_frame(images=[whole, cut, whole, b"no image", whole, whole])))
    assert re.fullmatch(
        r"train_df has 2 images that cannot be read: rows 1, 3\. The first is one of 1500 bytes \(image file is "
        r"truncated.*\)\. Mend or drop these rows\.",
        message,
    )
    absent = str(tmp_path / "none.png")
    message = _refused(lambda: model.train_model(_frame(images=[absent, *[whole] * 5])))
    assert message == (
        f"train_df has 1 image that cannot be read: row 0. The first is '{absent}' (there is no such file). "
        "Mend or drop these rows."
    )
    message = _refused(lambda: model.predict({"text": TEXTS, "images": [None, *[whole] * 4, float("nan")]}))
    assert message == (
        "to_predict has no image in 2 rows of the column 'images': rows 0, 5. "
        "Fill or drop them, for example to_predict.dropna(subset=['images'])."
    )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            3,
            "to_predict has a int instead of an image in row 0. Give a path, a Pillow image, the bytes of an image "
            "file, or an array of whole numbers from 0 to 255.",
        ),
        (
            np.zeros((3, 8, 8), dtype=np.uint8),
            "to_predict has an array of shape (3, 8, 8) and type uint8 for an image in row 0. Expected are whole "
            "numbers from 0 to 255, of shape (height, width) or (height, width, 3 or 4).",
        ),
        (
            np.zeros((8, 8, 3)),
            "to_predict has an array of shape (8, 8, 3) and type float64 for an image in row 0. Expected are whole "
            "numbers from 0 to 255, of shape (height, width) or (height, width, 3 or 4).",
        ),
    ],
)
def test_what_is_no_image_is_refused(image: Any, message: str, make: Any) -> None:
    assert _refused(lambda: make(num_labels=2).predict({"text": ["a"], "images": [image]})) == message


def test_folders_and_lists_that_do_not_fit_are_refused(make: Any, folder: Path, tmp_path: Path) -> None:
    model = make(num_labels=3)
    (tmp_path / "empty").mkdir()
    assert _refused(lambda: model.train_model(tmp_path / "empty")) == (
        f"train_df is the folder '{tmp_path / 'empty'}', which holds no file that ends in '.json'."
    )
    assert _refused(lambda: model.eval_model(folder, files_list=["0", "17"])) == (
        f"eval_df is the folder '{folder}', which lacks 1 file of files_list: ['17.json']."
    )
    assert _refused(lambda: model.predict(_frame(), files_list=["0"])) == (
        "files_list names samples of a folder, but to_predict is a DataFrame."
    )
    assert _refused(lambda: model.train_model(_frame(), "outputs/")) == (
        "files_list names samples of a folder, but train_df is a DataFrame. Give output_dir by its name."
    )
    assert _refused(lambda: model.predict({"text": ["a", "b"], "images": [_picture("red")]})) == (
        "to_predict needs as many texts as images, but its lists have the lengths {'text': 2, 'images': 1}."
    )
    (folder / "0.json").write_text("[1]", encoding="utf-8")
    assert _refused(lambda: model.predict(folder)) == (
        f"to_predict has a sample that is no JSON object with text, labels and images: '{folder / '0.json'}'."
    )
    (folder / "0.json").write_text("{", encoding="utf-8")
    assert _refused(lambda: model.predict(folder)).startswith(
        f"to_predict has a sample that is no JSON, '{folder / '0.json'}': "
    )


def test_a_text_alone_is_refused(make: Any) -> None:
    expected = "to_predict must be a list of lists of 2 strings, but its rows have [1] parts."
    for text in ("a", "long " * 1000):
        assert _refused(lambda text=text: make(num_labels=2).predict(text)) == expected


def test_a_row_of_the_training_data_in_the_evaluation_data_is_noticed(make: Any) -> None:
    args = {"evaluate_during_training": True, "save_best_model": False}
    other = _frame(images=[_picture("black"), *(_picture(colour) for colour in COLOURS[1:])])
    with pytest.warns(UserWarning, match=r"^5 rows of eval_df are in train_df too"):
        make(args=args).train_model(_frame(), eval_data=other)


# The two encoders


@pytest.mark.parametrize("architecture", VISION_ARCHITECTURES)
def test_any_vision_encoder_keeps_its_weights_and_comes_back(architecture: str, make: Any, tmp_path: Path) -> None:
    source = tiny_vision_checkpoint(tmp_path / architecture, architecture)
    model = make(num_labels=2, vision_name=source, args={"num_image_embeds": 3})
    encoder = transformers.AutoModel.from_pretrained(source).state_dict()
    for name, value in model.model.vision_model.state_dict().items():
        assert torch.equal(value, encoder[name]), name
    assert model.model.image_projection.in_features % 3 == 0
    expected = model.predict(_frame()).raw_outputs
    folder = model.save_model(tmp_path / "saved")
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"} <= {
        path.name for path in folder.iterdir()
    }
    found = easytx.load(folder, use_cuda=False, args={"fp16": False}).predict(_frame()).raw_outputs
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_image_half_of_a_clip_model_is_taken(make: Any, tmp_path: Path) -> None:
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = transformers.CLIPConfig(
        text_config={**small, **ids, "vocab_size": 99}, vision_config={**small, "image_size": 32, "patch_size": 8}
    )
    whole = transformers.CLIPModel(config)
    whole.save_pretrained(tmp_path)
    crop = {"height": 32, "width": 32}
    transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=crop).save_pretrained(tmp_path)
    model = make(num_labels=2, vision_name=tmp_path)
    expected = whole.vision_model.state_dict()
    found = model.model.vision_model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_without_a_name_a_small_new_encoder_is_trained(make: Any) -> None:
    with pytest.warns(UserWarning, match=r"^No vision encoder was named, so a small new one is trained from nothing\."):
        model = make(vision_name=None)
    assert model.model.config.vision_config.model_type == "resnet"
    assert model.image_processor.size == {"height": 64, "width": 64}


def test_a_new_encoder_is_as_described(make: Any) -> None:
    fields = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    shape = {"model_type": "vit", "image_size": 32, "patch_size": 16, **fields}
    model = make(vision_name=None, num_labels=2, args={"vision_config": shape, "manual_seed": 3})
    assert model.model.vision_model.config.hidden_size == 16
    assert model.image_processor.size == {"height": 32, "width": 32}
    same = make(vision_name=None, num_labels=2, args={"vision_config": shape, "manual_seed": 3})
    np.testing.assert_array_equal(model.predict(_frame()).raw_outputs, same.predict(_frame()).raw_outputs)


@pytest.mark.parametrize(
    ("options", "args", "error", "message"),
    [
        ({}, {"vision_config": {"depths": [1]}}, ArgumentError, "Give vision_name for an encoder that is there, or"),
        (
            {"vision_name": None},
            {"vision_config": {"deths": [1]}},
            ArgumentError,
            "vision_config sets 'deths', which a",
        ),
        (
            {"vision_name": None},
            {"vision_config": {"model_type": "vitt"}},
            ArgumentError,
            "vision_config has the model_type 'vitt', which transformers does not know.",
        ),
        ({"vision_name": None}, {"vision_config": {"model_type": "bert"}}, CheckpointError, "'bert' is a bert model, "),
        ({"vision_name": "nowhere/to-be-found"}, {}, ModelNotFoundError, "'nowhere/to-be-found' could not be loaded"),
    ],
)
def test_a_vision_encoder_that_is_none_is_refused(
    options: dict[str, Any], args: dict[str, Any], error: type[Exception], message: str, make: Any
) -> None:
    with pytest.raises(error) as refused:
        make(**options, args=args)
    assert str(refused.value).startswith(message)


def test_a_text_encoder_is_no_vision_encoder(make: Any, checkpoint: Path) -> None:
    with pytest.raises(CheckpointError) as refused:
        make(vision_name=checkpoint)
    assert str(refused.value) == (
        f"'{checkpoint}' is a bert model, which reads no images. Name a vision encoder, such as a ViT, the one of a "
        "CLIP or SigLIP model, or a ResNet."
    )


def test_new_tokens_get_an_embedding_that_is_saved(make: Any, tmp_path: Path) -> None:
    model = make(num_labels=2, args={"special_tokens_list": ["[HERE]"]})
    folder = model.save_model(tmp_path / "saved")
    tokens = len(model.tokenizer)
    for network in (model.model, easytx.load(folder, use_cuda=False).model):
        assert network.get_input_embeddings().num_embeddings == tokens == network.config.text_config.vocab_size


def test_the_name_of_the_data_counts_every_image(make: Any) -> None:
    def named(last: str) -> str:
        images = [_picture(colour) for colour in [*COLOURS[:-1], last]]
        model = make(num_labels=3)
        return data_fingerprint(
            model.prepared({"text": TEXTS, "images": images}, name="x", split="predict", renames={}).dataset
        )

    assert named("green") == named("green") != named("red")


def test_activations_can_be_computed_again_instead_of_kept(make: Any) -> None:
    kept, again = make(), make(args={"gradient_checkpointing": True})
    losses = [model.train_model(_frame(), output_dir=str(i)).training_details for i, model in enumerate((kept, again))]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_too_long_texts_are_refused_with_the_longest_possible(make: Any) -> None:
    with pytest.raises(ArgumentError, match=r"reads at most 512 tokens\. Set max_seq_length=512 or less\.$"):
        make(num_labels=2, args={"max_seq_length": 513}).predict(_frame())


def test_without_pillow_it_says_what_to_install(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError) as refused:
        make()
    assert str(refused.value) == (
        "MultiModalClassificationModel needs the package 'pillow'. Install it with: pip install 'easytx[multimodal]'"
    )


def test_a_model_that_was_saved_can_be_trained_on_for_other_labels(make: Any) -> None:
    make().train_model(_frame(), output_dir="first")
    kept = easytx.load("first", use_cuda=False)
    encoder = {name: value.clone() for name, value in kept.model.vision_model.state_dict().items()}
    other = MultiModalClassificationModel("first", use_cuda=False, args={"labels_list": ["x", "y"], **SETTINGS})
    assert all(torch.equal(value, encoder[name]) for name, value in other.model.vision_model.state_dict().items())
    other.train_model(_frame(["x", "y"] * 3), output_dir="second")
    assert set(other.predict(_frame()).predictions) <= {"x", "y"}


def test_the_vision_encoder_can_be_kept_as_it_is(make: Any) -> None:
    model = make(args={"freeze": ["vision_model"], "learning_rate": 1e-2})
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    model.train_model(_frame())
    moved = {
        name
        for name, value in model.model.state_dict().items()
        if name in before and before[name].shape == value.shape and not torch.equal(value, before[name])
    }
    assert moved
    assert not any(name.startswith("vision_model.") for name in moved)


# As scripts for Simple Transformers have it


def test_a_minimal_start(checkpoint: Path, folder: Path) -> None:
    model_args = MultiModalClassificationArgs(num_train_epochs=1, overwrite_output_dir=True)
    with pytest.warns(UserWarning, match=r"^No vision encoder was named"):
        model = MultiModalClassificationModel("bert", str(checkpoint), args=model_args)
    train_data = pd.DataFrame(
        [["the film was good", "red", "0.png"], ["a dull story", "blue", "1.png"]], columns=["text", "labels", "images"]
    )
    model.train_model(train_data, image_path=str(folder))
    result, model_outputs = model.eval_model(train_data, image_path=str(folder))
    assert {"mcc", "tp", "tn", "fp", "fn", "eval_loss"} <= set(result)
    assert model_outputs.shape == (2, 2)
    predictions, outputs = model.predict({"text": ["a bad film"], "images": ["2.png"]}, str(folder))
    assert predictions[0] in {"red", "blue"}
    assert outputs.shape == (1, 2)
