"""Devices and precision, on machines that are made up."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import set_seed

from easytx.errors import DeviceError
from easytx.training import precision
from easytx.training.precision import autocast, describe, kept_random_state, mixed_precision, resolve_device

CPU = torch.device("cpu")
CUDA = torch.device("cuda")
MPS = torch.device("mps")

Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a function that makes this machine look like another."""

    def pretend(
        *,
        gpus: int = 0,
        capability: tuple[int, int] = (8, 0),
        hip: str | None = None,
        mps: bool = False,
        macos_14: bool = False,
        cpu: tuple[str, ...] = (),
        rank: str | None = None,
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        monkeypatch.setattr(torch.version, "hip", hip)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *_: macos_14)
        found = dict.fromkeys(cpu, True)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
        monkeypatch.delenv("LOCAL_RANK", raising=False)
        if rank is not None:
            monkeypatch.setenv("LOCAL_RANK", rank)

    pretend()
    return pretend


@pytest.mark.parametrize(
    ("use_cuda", "number", "looks", "expected"),
    [
        (None, -1, {}, "cpu"),
        (None, -1, {"mps": True}, "mps"),
        (None, -1, {"gpus": 1, "mps": True}, "cuda"),
        (True, -1, {"gpus": 2}, "cuda"),
        (True, 1, {"gpus": 2}, "cuda:1"),
        (None, 1, {"gpus": 2}, "cuda:1"),
        (False, 1, {"gpus": 2, "mps": True}, "cpu"),
        (True, -1, {"gpus": 2, "rank": "1"}, "cuda:1"),
        (True, 0, {"gpus": 2, "rank": "1"}, "cuda:1"),
        (True, 1, {"gpus": 2, "rank": "-1"}, "cuda:1"),
        (None, -1, {"rank": "1"}, "cpu"),
    ],
)
def test_devices(machine: Machine, use_cuda: bool | None, number: int, looks: Any, expected: str) -> None:
    machine(**looks)
    assert resolve_device(use_cuda, number) == torch.device(expected)


@pytest.mark.parametrize(
    ("number", "looks", "message"),
    [
        (
            -1,
            {},
            "use_cuda is True, but torch finds no CUDA device. Pass use_cuda=False to compute on the CPU, or "
            "install a CUDA build of torch and a driver: https://pytorch.org/get-started/locally/",
        ),
        (
            2,
            {"gpus": 2},
            "cuda_device is 2, but the number of CUDA devices is 2, counted from 0. Use -1 for the current one.",
        ),
        (
            -2,
            {"gpus": 2},
            "cuda_device is -2, but the number of CUDA devices is 2, counted from 0. Use -1 for the current one.",
        ),
        (
            -1,
            {"gpus": 2, "rank": "2"},
            "LOCAL_RANK is 2, but the number of CUDA devices is 2, counted from 0. Start at most that many processes.",
        ),
    ],
)
def test_devices_that_are_not_there(machine: Machine, number: int, looks: Any, message: str) -> None:
    machine(**looks)
    with pytest.raises(DeviceError, match=f"^{re.escape(message)}$"):
        resolve_device(True, number)


@pytest.mark.parametrize(
    ("device", "looks", "expected"),
    [
        (CUDA, {"capability": (9, 0)}, torch.bfloat16),
        (CUDA, {"capability": (8, 0)}, torch.bfloat16),
        (CUDA, {"capability": (7, 5)}, torch.float16),
        (CUDA, {"capability": (7, 5), "hip": "6.0"}, torch.bfloat16),
        (CPU, {"cpu": ("avx512_bf16",)}, torch.bfloat16),
        (CPU, {"cpu": ("amx_bf16",)}, torch.bfloat16),
        (CPU, {"cpu": ("avx2", "avx512_f")}, None),
        (MPS, {"macos_14": True}, None),
    ],
)
def test_mixed_precision_where_it_gains(
    machine: Machine, device: torch.device, looks: Any, expected: torch.dtype | None
) -> None:
    machine(**looks)
    assert mixed_precision(True, device) == expected
    assert mixed_precision(False, device) is None


def test_models_that_overflow_in_fp16_get_none(machine: Machine) -> None:
    machine(capability=(7, 5))
    assert mixed_precision(True, CUDA, allow_fp16=False) is None
    machine(capability=(8, 6))
    assert mixed_precision(True, CUDA, allow_fp16=False) is torch.bfloat16


def test_bf16_can_be_forbidden(machine: Machine) -> None:
    machine(cpu=("avx512_bf16",))
    assert mixed_precision(True, CPU, bf16=False) is None
    assert mixed_precision(True, CUDA, bf16=False) is torch.float16
    assert mixed_precision(True, CUDA, bf16=False, allow_fp16=False) is None


@pytest.mark.parametrize("requested", [True, False])
def test_bf16_can_be_forced(machine: Machine, requested: bool) -> None:
    machine(macos_14=True)
    assert [mixed_precision(requested, device, bf16=True) for device in (CPU, CUDA, MPS)] == [torch.bfloat16] * 3


@pytest.mark.parametrize("device", [torch.device("cuda", 1), MPS])
def test_bf16_forced_where_there_is_none(machine: Machine, device: torch.device) -> None:
    machine(capability=(7, 0))
    message = f"bf16 is True, but {device} has no bf16. Leave bf16 out for the best precision it has."
    with pytest.raises(DeviceError, match=f"^{re.escape(message)}$"):
        mixed_precision(True, device, bf16=True)


@pytest.mark.parametrize("found", ["_is_avx512_bf16_supported", "_is_amx_tile_supported", None])
def test_older_torch_is_asked_its_own_way(monkeypatch: pytest.MonkeyPatch, found: str | None) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name == found, raising=False)
    assert mixed_precision(True, CPU) == (None if found is None else torch.bfloat16)


def test_this_machine_answers() -> None:
    assert mixed_precision(True, CPU) in (None, torch.bfloat16)
    assert isinstance(precision._cpu_has_bf16_units(), bool)


def test_autocast() -> None:
    weight = torch.ones(2, 2)
    with autocast(CPU, torch.bfloat16):
        assert (weight @ weight).dtype == torch.bfloat16
    with autocast(CPU, None):
        assert (weight @ weight).dtype == torch.float32


@pytest.mark.parametrize(
    ("device", "dtype", "expected"),
    [
        (CPU, torch.bfloat16, "cpu, bf16"),
        (torch.device("cuda", 1), torch.float16, "cuda:1, fp16"),
        (MPS, None, "mps, fp32"),
        (CPU, torch.float64, "cpu, float64"),
    ],
)
def test_describe(device: torch.device, dtype: torch.dtype | None, expected: str) -> None:
    assert describe(device, dtype) == expected


def test_random_states_are_kept_whatever_happens_inside() -> None:
    def states() -> tuple[Any, ...]:
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    def fail() -> None:
        set_seed(7)
        assert states() != before
        raise RuntimeError

    before = states()
    with pytest.raises(RuntimeError), kept_random_state():
        fail()
    assert states() == before
