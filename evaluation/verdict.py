"""Is a prediction worth using? The rule, in one place: the page and the docs quote it."""

from dataclasses import dataclass
from enum import StrEnum

LESS = 0.2  # of Base's error, which the error must lie below it
FEWEST_TESTED = 20  # test entries
SHORT = 0.1  # how much the coverage of intervals may lack of their level


class Word(StrEnum):
    """The verdict on one property."""

    WORTH = "worth using"
    BARELY = "barely worth using"
    NOT = "not worth using"
    UNKNOWN = "cannot be told"


RULE = {
    Word.WORTH: f"the error is at least {100 * LESS:.0f} % below Base's, and the whole 95 % interval of the "
    "ratio of the two is below 1; it is below that of the forest by composition and of the network from "
    f"scratch where these were fitted; the intervals hold at most {100 * SHORT:.0f} points fewer values than "
    f"they say; and at least {FEWEST_TESTED} entries were tested",
    Word.BARELY: "the whole 95 % interval of the ratio to Base's error is below 1, and some of the rest is "
    "missing, which is said",
    Word.NOT: "the 95 % interval of the ratio to Base's error reaches 1, so that the mean of the training "
    "values may serve as well",
    Word.UNKNOWN: "there is no Base, no interval, or the values were among those that a source model was "
    "trained on",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verdict is made of; all errors in one unit, and none where there is no such number.

    error: of the chosen run on the test part; base, composition, scratch: of what it is compared with.
    over_base: the upper end of the 95 % interval of error / base. tested: test entries. coverage: share of
    values that the intervals held, level: the share that they should. seen: source models that were trained
    on the values.
    """

    error: float | None
    base: float | None
    over_base: float | None
    composition: float | None = None
    scratch: float | None = None
    tested: int = 0
    coverage: float | None = None
    level: float | None = None
    seen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict, and why it is no better one."""

    word: Word
    reasons: tuple[str, ...] = ()


def judge(of: Evidence) -> Verdict:
    """Judge a prediction by `RULE`.

    >>> judge(Evidence(error=1.0, base=4.0, over_base=0.3, tested=50)).word.value
    'worth using'
    >>> judge(Evidence(error=1.0, base=4.0, over_base=0.3, tested=5))
    Verdict(word=<Word.BARELY: 'barely worth using'>, reasons=('only 5 entries were tested',))
    """
    if of.seen:
        return Verdict(
            Word.UNKNOWN, (f"its values were among those that {', '.join(of.seen)} was trained on",)
        )
    if of.error is None or not of.base:
        return Verdict(Word.UNKNOWN, ("there is no Base to compare with",))
    if of.over_base is None:
        return Verdict(Word.UNKNOWN, ("there is no interval of the error over Base's",))
    if of.error >= of.base:
        return Verdict(Word.NOT, ("the error is not below Base's",))
    if of.over_base >= 1:
        return Verdict(Word.NOT, ("the 95 % interval of the error over Base's reaches 1",))
    reasons = []
    if of.error > (1 - LESS) * of.base:
        reasons.append(f"the error is less than {100 * LESS:.0f} % below Base's")
    if of.composition is not None and of.error >= of.composition:
        reasons.append("composition alone predicts it as well")
    if of.scratch is not None and of.error >= of.scratch:
        reasons.append("a network trained from scratch predicts it as well")
    if of.coverage is not None and of.level is not None and of.coverage < of.level - SHORT:
        reasons.append(f"intervals of {100 * of.level:.0f} % held {100 * of.coverage:.0f} %")
    if of.tested < FEWEST_TESTED:
        reasons.append(f"only {of.tested} entries were tested" if of.tested != 1 else "one entry was tested")
    return Verdict(Word.BARELY if reasons else Word.WORTH, tuple(reasons))
