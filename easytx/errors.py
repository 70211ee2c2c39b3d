"""Every exception easytx raises on purpose.

EasytxError
├── ArgumentError        (ValueError)       an argument is unknown, of the wrong type or out of bounds
├── DataError            (ValueError)       rows, columns or files do not have the expected form
│   └── LabelError                          labels are missing, unknown or of the wrong kind
├── ModelNotFoundError   (OSError)          no model at this name or folder
├── CheckpointError      (ValueError)       a model is there, but not one this class can use
├── OutOfMemoryError     (MemoryError)      the device's memory does not suffice
├── OutputDirError       (ValueError)       writing there would overwrite something
├── DeviceError          (ValueError)       the device asked for is not there
├── MissingExtraError    (ImportError)      an optional dependency is not installed
├── NonFiniteLossError   (ArithmeticError)  training diverged
├── ScoreDropError       (ValueError)       int8 weights would cost more of the score than is accepted
└── UnsupportedError     (NotImplementedError)  the class, or the torch that is installed, does not do this

Each is also the builtin exception a caller would expect, so `except ValueError` keeps working.
"""

from __future__ import annotations

__all__ = [
    "ArgumentError",
    "CheckpointError",
    "DataError",
    "DeviceError",
    "EasytxError",
    "LabelError",
    "MissingExtraError",
    "ModelNotFoundError",
    "NonFiniteLossError",
    "OutOfMemoryError",
    "OutputDirError",
    "ScoreDropError",
    "UnsupportedError",
]


class EasytxError(Exception):
    """Base of every error raised by easytx."""


class ArgumentError(EasytxError, ValueError):
    """An argument is unknown, of the wrong type or out of its bounds."""


class DataError(EasytxError, ValueError):
    """Rows, columns or files do not have the expected form."""


class LabelError(DataError):
    """Labels are missing, unknown or of the wrong kind."""


class ModelNotFoundError(EasytxError, OSError):
    """There is no model at the given name or folder."""


class CheckpointError(EasytxError, ValueError):
    """There is a model, but not one that this class can use."""


class OutOfMemoryError(EasytxError, MemoryError):
    """The memory of the device does not suffice, and smaller batches are of no help or not possible."""


class OutputDirError(EasytxError, ValueError):
    """Writing to this folder would overwrite what is in it."""


class DeviceError(EasytxError, ValueError):
    """The device asked for is not available."""


class MissingExtraError(EasytxError, ImportError):
    """An optional dependency is not installed."""

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> MissingExtraError:
        """Return the error that names the package, what needs it and the command that brings it."""
        return cls(f"{purpose} needs the package '{package}'. Install it with: pip install 'easytx[{extra}]'")


class NonFiniteLossError(EasytxError, ArithmeticError):
    """The loss became NaN or infinite."""


class ScoreDropError(EasytxError, ValueError):
    """The score would drop by more than is accepted."""


class UnsupportedError(EasytxError, NotImplementedError):
    """The class does not do this, such as training where it only predicts, or the torch that is installed does not."""
