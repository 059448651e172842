"""The figure of the search over layers by altair, for a file: properties down, feature sets across."""

from collections.abc import Mapping

from core.text import number
from evaluation.report.searched import Errors, Key
from evaluation.report.templates import colours
from evaluation.report.vega_look import Spec, Tables, altair, finished, no_frame, rows_of, tipped

LIMIT = 1.3  # times the best error, from which on a cell is as light as can be
_ROW, _COLUMN = 19, 128  # pixels
_LINE = 12  # of a column's head
_LETTERS = 22  # that a column has room for


def layers_spec(targets: Mapping[Key, Errors]) -> Spec:
    """Draw errors over the best of their property: properties down, feature sets across; dark is best."""
    c = colours()
    names = sorted({name for sets in targets.values() for name in sets}, key=lambda name: ("+" in name, name))
    rows = []
    for (dataset, prop), sets in targets.items():
        target = _called(dataset, prop)
        least = min(error for error, _ in sets.values())
        for name, (error, head) in sets.items():
            ratio = error / least if least > 0 else 1.0
            tip = f"{target} from {name}: {number(error)} ({head}), {number(ratio, 3)} × the best"
            rows.append(
                {"target": target, "set": _in_lines(name), "ratio": ratio, "text": f"{ratio:.2f}", "tip": tip}
            )
    lines = max(_in_lines(name).count("\n") for name in names)
    words = {
        "labelPadding": 5 + _LINE * lines,
        "labelExpr": "split(datum.label, '\\n')",
        "labelLineHeight": _LINE,
        "labelLimit": _COLUMN,
    }
    axis = altair().Axis(orient="top", labelAngle=0, **words)  # a set of several in a line each
    x = altair().X("set:N", sort=[*map(_in_lines, names)], title=None, axis=axis)
    y = altair().Y(
        "target:N", sort=[_called(*key) for key in targets], title=None, axis=altair().Axis(labelLimit=260)
    )
    shade = altair().Scale(domain=(1, LIMIT), range=[c["accent"], c["surface"]], clamp=True)
    dark = 1 + (LIMIT - 1) / 3  # below it light letters are read more easily
    ink = altair().condition(f"datum.ratio < {dark}", altair().value(c["surface"]), altair().value(c["ink"]))
    tables: Tables = {}
    cells = rows_of(tables, rows).mark_rect(stroke=c["surface"], aria=True)
    text = rows_of(tables, rows).mark_text(fontSize=10.5)
    layers = [
        tipped(cells, x=x, y=y, color=altair().Color("ratio:Q", scale=shade, legend=None)),
        text.encode(x=x, y=y, text="text:N", color=ink),
    ]
    size = {"width": _COLUMN * len(names), "height": _ROW * len(targets)}
    chart = altair().layer(*layers).properties(view=no_frame(), **size)
    return finished(chart, "Error of each feature set over the best of its property", tables)


def _called(dataset: str, prop: str) -> str:
    return f"{dataset}: {prop.replace('_', ' ')}"


def _in_lines(name: str) -> str:
    """Break the name of a feature set where a column's head has no room for it.

    >>> _in_lines("chgnet/all+magpie/all").splitlines()
    ['chgnet/all', '+ magpie/all']
    >>> _in_lines("network/all_the_checkpoints").splitlines()
    ['network/', 'all_the_checkpoints']
    """
    parts = [part if len(part) <= _LETTERS else part.replace("/", "/\n") for part in name.split("+")]
    return "\n+ ".join(parts)
