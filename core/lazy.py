"""Optional stacks are imported where they are used, through this one door."""

import importlib
from types import ModuleType

from core.errors import StrataError


def need(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra of the project brings it.

    >>> need("json", "core").dumps([1])
    '[1]'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise StrataError(
            f"this needs {module}, which does not import here ({error}); "
            f"install it with: pip install 'strata[{extra}]'"
        ) from error
