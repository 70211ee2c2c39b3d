"""One text from another, with the task named in front of it."""

from easytx.t5.args import T5Args
from easytx.t5.model import T5Model

__all__ = ["T5Args", "T5Model"]
