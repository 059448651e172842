"""The page of a map: one file, with a policy that lets its own scripts run and no other."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import jinja2
from markupsafe import Markup

from core.atomic import write_whole
from core.errors import StrataError
from core.lazy import need
from evaluation.explorer.pack import as_json, as_text, header, numbers, pieces, texts
from evaluation.explorer.structure_map import StructureMap

TEMPLATES = Path(__file__).with_name("templates")
_VIEWER = "sphinx/static/chemiscope.min.js"  # in chemiscope's wheel; it holds 3Dmol
ENDINGS = (".html", ".htm")
_SCRIPTS = ("scatter.js", "crystal.js", "filters.js", "map.js")


def viewer_script() -> str:
    """Return the script that draws crystals: 3Dmol, as chemiscope's wheel carries it.

    Raises `StrataError` where chemiscope is not installed or has no such file.
    """
    library = need("chemiscope", "explore")
    path = Path(str(library.__file__)).parent / _VIEWER
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StrataError(
            f"{path}: {error.strerror}; this needs chemiscope 1.1: pip install 'strata[explore]'"
        ) from None
    return safe_script(text)


def safe_script(text: str) -> str:
    """Return a script that may stand in a page: what would end its element, or hide its end, is escaped.

    It stands inside of literals alone, where the escape means the same.

    >>> safe_script('a = "<!-- </script>"')
    'a = "\\\\x3c!-- \\\\x3c/script>"'
    """
    for found in ("<!--", "</script", "<script"):
        text = text.replace(found, "\\x3c" + found[1:])
    return text


def page(shown: StructureMap, *, served: bool = False, explains: bool = False) -> str:
    """Return a map as HTML.

    served: crystals are asked of the server that gave the page, not in it. explains: so are shares of atoms.
    """
    script = safe_script("\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in _SCRIPTS))
    viewer = viewer_script()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    asks = "'self'" if served else "'none'"
    policy = (  # styles are not run, and the viewer sets its own
        f"default-src 'none'; script-src {_hash(script)} {_hash(viewer)}; style-src 'unsafe-inline'; "
        f"img-src data: blob:; connect-src {asks}; base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("map.html.jinja").render(
        shown=shown,
        policy=policy,
        style=Markup((TEMPLATES / "map.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        header=Markup(as_json(header(shown) | {"served": served, "explains": explains})),  # noqa: S704 - no < is left in it
        numbers=as_text(numbers(shown)),
        texts=as_text(texts(shown)),
        pieces=_as_texts(shown) if not served else (),
        script=Markup(script),  # noqa: S704
        viewer=Markup(viewer),  # noqa: S704
    )


def write_page(shown: StructureMap, path: Path) -> int:
    """Write a map to a file; returns its bytes. Raises `StrataError` where it cannot be written."""
    content = page(shown)
    write_whole(path, content)
    return len(content.encode())


def check_path(path: Path) -> Path:
    """Return a path that a page can be written to, before any work. Raises `StrataError` for another."""
    if path.suffix.lower() not in ENDINGS:
        raise StrataError(f"{path}: a page is written to a file that ends in .html")
    if not path.parent.is_dir():
        raise StrataError(f"cannot write {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise StrataError(f"cannot write {path}: it is a folder")
    return path


def _as_texts(shown: StructureMap) -> Iterator[str]:
    return map(as_text, pieces(shown))


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
