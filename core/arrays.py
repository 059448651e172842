"""Arrays of NumPy in a file of their own (safetensors), which holds numbers and nothing that could run."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from core.errors import StrataError


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays in place of what was in the file; `StrataError` where it cannot be written."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    whole = {name: np.require(array, requirements="C") for name, array in arrays.items()}
    try:
        save_file(whole, path)
    except (SafetensorError, OSError) as error:
        raise StrataError(f"cannot write {path} ({error})") from None


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what `write_arrays` wrote; raises `StrataError` naming a file that is none of these."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise StrataError(f"{path} is no safetensors file that can be read ({error})") from None
