"""A word for what a structure is made of, by its most electronegative element."""

from collections.abc import Iterable

# In the order of electronegativity on Pauling's scale, most first; what comes first decides.
_KINDS: tuple[tuple[str, frozenset[int]], ...] = (
    ("fluoride", frozenset({9})),
    ("oxide", frozenset({8})),
    ("chloride, bromide, iodide", frozenset({17, 35, 53})),
    ("nitride", frozenset({7})),
    ("sulfide, selenide, telluride", frozenset({16, 34, 52})),
    ("phosphide, arsenide, antimonide", frozenset({15, 33, 51})),
    ("boride, carbide, silicide", frozenset({5, 6, 14, 32})),
    ("hydride", frozenset({1})),
)
_NOBLE = frozenset({2, 10, 18, 36, 54, 86})
_OF_MOLECULES = frozenset({1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53})


def chemistry(numbers: Iterable[int]) -> str:
    """Return the kind of a substance with these atomic numbers.

    A compound of carbon and hydrogen with other non-metals alone is `organic`; metals alone are
    `intermetallic`.

    >>> [chemistry(z) for z in ([14], [22, 8, 8], [6, 1, 8], [28, 13], [11, 17])]
    ['element', 'oxide', 'organic', 'intermetallic', 'chloride, bromide, iodide']
    """
    elements = set(numbers)
    if len(elements) == 1:
        return "element"
    if {1, 6} <= elements <= _OF_MOLECULES:
        return "organic"
    for kind, deciding in _KINDS:
        if elements & deciding:
            return kind
    return "with a noble gas" if elements & _NOBLE else "intermetallic"
