"""The templates of pages that open from disk: everything escaped, one set of colours, a strict policy.

Any page of the project can stand on them: `environment`, `sheet`, `policy` and `colours.css`.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from core.text import number

if TYPE_CHECKING:
    import jinja2
    import markupsafe

TEMPLATES = Path(__file__).parent / "templates"


@cache
def environment() -> "jinja2.Environment":
    """Give the template environment: everything escaped, an unknown name is an error."""
    import jinja2

    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["number"] = number
    env.filters["percent"] = percent
    env.filters["breakable"] = breakable
    env.filters["words"] = lambda name: str(name).replace("_", " ")
    return env


def breakable(name: str) -> "markupsafe.Markup":
    """Let the name of a feature set break where its parts end.

    >>> str(breakable("a/last+<b>/all"))
    'a/<wbr>last+<wbr>&lt;b&gt;/<wbr>all'
    """
    import markupsafe

    text = str(markupsafe.escape(name))
    return markupsafe.Markup(text.replace("/", "/<wbr>").replace("+", "+<wbr>"))  # noqa: S704 - escaped


def percent(share: float | None, digits: int = 0) -> str:
    """Write a share in per cent, with a true minus and a space that does not break.

    >>> [percent(share).replace("\N{NO-BREAK SPACE}", " ") for share in (-0.444, 0.9, None)]
    ['−44 %', '90 %', '–']
    """
    if share is None:
        return "–"
    text = f"{100 * share:.{digits}f}"
    return ("0" if float(text) == 0 else text.replace("-", "−")) + "\N{NO-BREAK SPACE}%"


def sheet(names: Sequence[str]) -> str:
    """Return style sheets one after another, for the one `<style>` of a page; scripts likewise."""
    return "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)


def policy(style: str, script: str) -> str:
    """Return the content-security policy that lets this style and this script in, by hash, and nothing else.

    No address is asked, and neither an attribute `style` nor a handler in an attribute counts: a second wall
    behind escaping.
    """
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def colours() -> dict[str, str]:
    """Return the colours of the light page by name; the first rule of its style sheet has them.

    >>> colours()["accent"]
    '#0072b2'
    """
    light = (TEMPLATES / "colours.css").read_text(encoding="utf-8").splitlines()[0]
    return dict(re.findall(r"--(\w+):(#\w+)", light))
