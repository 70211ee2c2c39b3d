"""Which device computes, in which precision, in how many threads, and with which random state afterwards."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch

from easytx.errors import DeviceError

__all__ = ["autocast", "describe", "kept_random_state", "mixed_precision", "resolve_device", "threads"]

# First compute capability with bf16 units (Ampere).
BF16_CAPABILITY = 8

_SHORT = {None: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


def resolve_device(use_cuda: bool | None, cuda_device: int = -1) -> torch.device:
    """Return the device to compute on.

    A process of torchrun or accelerate (its environment has LOCAL_RANK) gets the CUDA device of its rank.

    Args:
        use_cuda: True for CUDA, False for the CPU, None for the best there is: CUDA, then MPS, then the CPU.
        cuda_device: Number of the CUDA device; -1 for the current one.

    Raises:
        DeviceError: CUDA is asked for and not available, or has no device of this number.
    """
    if use_cuda is False:
        return torch.device("cpu")
    if torch.cuda.is_available():
        return _cuda_device(cuda_device)
    if use_cuda:
        raise DeviceError(
            "use_cuda is True, but torch finds no CUDA device. Pass use_cuda=False to compute on the CPU, or "
            "install a CUDA build of torch and a driver: https://pytorch.org/get-started/locally/"
        )
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def mixed_precision(
    requested: bool, device: torch.device, *, bf16: bool | None = None, allow_fp16: bool = True
) -> torch.dtype | None:
    """Return the type to compute in where that is faster and safe, or None for float32.

    Args:
        requested: Whether to use mixed precision if this device gains by it: bf16 on CUDA from Ampere on and
            on CPUs with AVX512-BF16 or AMX; fp16 on older CUDA; float32 elsewhere.
        device: Where the model computes.
        bf16: True asks for bf16 even where it is not faster, whatever `requested` says; False forbids it.
        allow_fp16: False for models whose values overflow in fp16, such as T5.

    Raises:
        DeviceError: `bf16` is True and this device has none.
    """
    if bf16:
        if _has_bf16(device):
            return torch.bfloat16
        raise DeviceError(f"bf16 is True, but {device} has no bf16. Leave bf16 out for the best precision it has.")
    if not requested:
        return None
    if bf16 is None and _gains_by_bf16(device):
        return torch.bfloat16
    return torch.float16 if device.type == "cuda" and allow_fp16 else None


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Return a context in which `device` computes in `dtype`; None changes nothing."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Have torch compute on the CPU in so many threads, and afterwards in as many as before; None changes nothing."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        if number is not None:
            torch.set_num_threads(before)


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Leave the random states of Python, numpy and torch as they were: a training sets all of them by its seed."""
    drawn, drawn_by_numpy = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(drawn)
        np.random.set_state(drawn_by_numpy)


def describe(device: torch.device, dtype: torch.dtype | None) -> str:
    """Return device and precision in words, for example "cpu, bf16"."""
    return f"{device}, {_SHORT.get(dtype, str(dtype).removeprefix('torch.'))}"


def _cuda_device(number: int) -> torch.device:
    rank = os.environ.get("LOCAL_RANK", "")
    # Ranks that share one device would wait for each other without end, so the rank outweighs the argument.
    source = "cuda_device"
    if rank.isdecimal():
        number, source = int(rank), "LOCAL_RANK"
    if number == -1:
        return torch.device("cuda")
    count = torch.cuda.device_count()
    if not 0 <= number < count:
        remedy = "Start at most that many processes" if source == "LOCAL_RANK" else "Use -1 for the current one"
        raise DeviceError(f"{source} is {number}, but the number of CUDA devices is {count}, counted from 0. {remedy}.")
    return torch.device("cuda", number)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "mps":
        return bool(torch.backends.mps.is_macos_or_newer(14, 0))
    return device.type == "cpu" or _gains_by_bf16(device)


def _gains_by_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        # torch.cuda.is_bf16_supported() also says yes where bf16 is emulated and slow.
        return torch.version.hip is not None or torch.cuda.get_device_capability(device)[0] >= BF16_CAPABILITY
    return device.type == "cpu" and _cpu_has_bf16_units()


def _cpu_has_bf16_units() -> bool:
    # Older versions of torch lack get_capabilities, which is public, and have these two instead.
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
