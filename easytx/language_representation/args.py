"""Arguments of `RepresentationModel`."""

from __future__ import annotations

from easytx.config.fields import arg, arguments
from easytx.config.model_args import ModelArgs


@arguments
class RepresentationArgs(ModelArgs):
    """Arguments of `RepresentationModel`."""

    fp16: bool = arg(
        default=False,
        help="Mixed precision, bf16 or fp16, where the hardware gains by it. Then the vector of a text differs in its "
        "third digit with what shares its batch.",
    )
