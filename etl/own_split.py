"""The split that a user's own table brings: a column with the part, or the fold, of each row."""

from collections import Counter
from collections.abc import Mapping

from core.errors import StrataError
from core.text import parse_number
from featurestore.columns import NULL_TOKENS
from featurestore.splits.draws import NONE, TEST, TRAIN, VAL
from featurestore.splits.published import FEWEST_FOLDS

_WORDS = {
    TRAIN: (TRAIN, "training"),
    VAL: (VAL, "valid", "validation", "dev"),
    TEST: (TEST, "testing"),
}
_PART_OF = {word: part for part, words in _WORDS.items() for word in words}


def part_of(cell: object, where: str) -> str:
    """Return the part that a cell names: train, val, test, the number of a fold as text; '' for none.

    Raises `StrataError` for anything else, naming `where`.

    >>> part_of("Validation", "row 1"), part_of(2.0, "row 1"), part_of(None, "row 1")
    ('val', '2', '')
    """
    if cell is None or cell != cell:  # noqa: PLR0124 - NaN
        return NONE
    text = str(cell).strip()
    if text in NULL_TOKENS:
        return NONE
    if text.lower() in _PART_OF:
        return _PART_OF[text.lower()]
    try:
        number = parse_number(text)
    except ValueError:
        number = -1.0
    if isinstance(cell, bool) or number < 0 or not number.is_integer():
        raise StrataError(
            f"{where}: {text[:60]!r} is no part of a split; expected train, val, test or the number of a fold"
        )
    return str(int(number))


def check_parts(parts: Mapping[str, str], where: str) -> None:
    """Raise `StrataError` unless the parts of all entries make a split, or folds that test each in turn."""
    found = Counter(parts.values())
    folds = [part for part in found if part.isdigit()]
    if folds and len(folds) < len(found):
        raise StrataError(
            f"{where}: {', '.join(sorted(found))} stand in one column; it has parts or numbers of folds"
        )
    if folds and len(folds) < FEWEST_FOLDS:
        raise StrataError(
            f"{where}: {len(folds)} folds; each is tested once, with another for validation and the rest to "
            f"train on, so that {FEWEST_FOLDS} are needed at least"
        )
    if not folds and (lacking := [part for part in (TRAIN, TEST) if part not in found]):
        raise StrataError(f"{where}: no row of the part {' and none of '.join(lacking)}")


def in_words(parts: Mapping[str, str]) -> str:
    """Say how many entries lie in each part.

    >>> in_words({"a": "train", "b": "test", "c": "train"}), in_words({"a": "0", "b": "1", "c": "2"})
    ('2 train, 1 test; val is drawn from train', '3 folds')
    """
    found = Counter(parts.values())
    if any(part.isdigit() for part in found):
        return f"{len(found)} folds"
    counts = [f"{found[part]:,} {part}" for part in (TRAIN, VAL, TEST) if part in found]
    return ", ".join(counts) + ("" if VAL in found else "; val is drawn from train")
