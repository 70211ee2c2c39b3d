"""The tiny vision encoders are what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel

from easytx.errors import ArgumentError
from easytx.testing import VISION_ARCHITECTURES, tiny_vision_checkpoint


@pytest.fixture(scope="module", params=VISION_ARCHITECTURES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vision_checkpoint(tmp_path_factory.mktemp("vision") / request.param, request.param)


def test_transformers_opens_it_and_tells_images_apart(folder: Path) -> None:
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    noise = np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    pixels = processor(images=[Image.new("RGB", (40, 50), "red"), Image.fromarray(noise)], return_tensors="pt")
    assert pixels["pixel_values"].shape == (2, 3, 32, 32)
    model = AutoModel.from_pretrained(folder)
    assert model.config.model_type == folder.name
    assert sum(parameter.numel() for parameter in model.parameters()) < 100_000
    with torch.no_grad():
        first, second = model(**pixels).last_hidden_state
    assert float((first - second).abs().max()) > 1e-2


def test_the_seed_alone_decides_the_weights(folder: Path, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    first, again, other = (tiny_vision_checkpoint(tmp_path / str(i), folder.name, seed=i // 2) for i in range(3))
    assert torch.equal(torch.get_rng_state(), before)
    contents = [(path / "model.safetensors").read_bytes() for path in (first, again, other)]
    assert contents[0] == contents[1] != contents[2]


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ArgumentError, match=r"^architecture must be one of \['clip_vision_model', .*\], but is 'vgg'\.$"
    ):
        tiny_vision_checkpoint(tmp_path / "none", "vgg")
    assert not (tmp_path / "none").exists()
