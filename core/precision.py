"""The numeric modes of a network's matrix products, which are a part of what decides its vectors."""

from collections.abc import Mapping
from typing import Literal

Precision = Literal["float32", "bfloat16", "tf32"]

FLOAT32: Precision = "float32"
BFLOAT16: Precision = "bfloat16"
TF32: Precision = "tf32"


def precision_of(provenance: Mapping[str, str]) -> str:
    """Return the mode that stored vectors were made in, as their provenance says it.

    Vectors in float32 and tf32 say only whether it was tf32, as they did before there was a third mode.

    >>> precision_of({"tf32": "true"})
    'tf32'
    """
    return provenance.get("precision") or (TF32 if provenance.get("tf32") == "true" else FLOAT32)


def stored(precision: str) -> dict[str, str]:
    """Return what provenance says of a mode, see `precision_of`.

    >>> stored("float32"), stored("bfloat16")
    ({'tf32': 'false'}, {'tf32': 'false', 'precision': 'bfloat16'})
    """
    facts = {"tf32": str(precision == TF32).lower()}
    return facts if precision in (FLOAT32, TF32) else facts | {"precision": precision}
