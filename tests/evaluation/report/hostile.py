"""Text that no page may run, in every field of what a page says."""

from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

from pydantic import BaseModel

from evaluation.experiments.base import Experiment
from evaluation.report.contents import Page

RIGHT_TO_LEFT = "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u202e"
MARKUP = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>' onclick='alert(3) {{7*7}} &lt; "
LONG = "w" * 300
HOSTILE = f"{MARKUP}{RIGHT_TO_LEFT}{LONG}"
# what code asks for, and no name of anything
_WORDS = {"linear", "log", "inside", "edge", "outside"}
_CODE = {"scheme", "x_scale", "y_scale", "scale", "role", "seen_by", "columns"}


def worse(value: Any, name: str = "") -> Any:
    """Return the same with hostile and long text before every text, however deep it lies."""
    made = value
    if isinstance(value, Enum | Experiment) or name in _CODE:
        pass
    elif isinstance(value, str):
        made = value if value in _WORDS else f"{HOSTILE}{value}"
    elif isinstance(value, BaseModel):
        texts = {key: worse(item) for key, item in value.__dict__.items() if isinstance(item, str)}
        made = value.model_copy(update=texts)
    elif is_dataclass(value) and not isinstance(value, type):
        made = replace(value, **{f.name: worse(getattr(value, f.name), f.name) for f in fields(value)})
    elif isinstance(value, dict) and "$schema" in value:  # of Vega: what its marks say, and its title
        rows = [row for table in value["datasets"].values() for row in table]
        for row in rows:
            row |= {key: worse(row[key]) for key in ("name", "text", "tip") if key in row}
        made = value | {"description": worse(value["description"])}
    elif isinstance(value, dict):
        made = {worse(key): worse(item) for key, item in value.items()}
    elif isinstance(value, tuple | list):
        made = type(value)(worse(item, name) for item in value)
    return made


def hostile_page(page: Page) -> Page:
    """Return a page whose every name and text tries to be more than text."""
    made = worse(replace(page, blocks=()))
    blocks = tuple(
        replace(block, grids=worse(block.grids), figures=worse(tuple(block.figures))) for block in page.blocks
    )
    return replace(made, blocks=blocks)
