"""Diagrams of average ranks."""

import math
from collections.abc import Sequence

from core.text import number
from evaluation.report.templates import colours
from evaluation.report.vega_look import Rows, Spec, Tables, altair, finished, no_frame, rows_of, tipped


def ranks_spec(
    title: str, ranks: Sequence[tuple[str, float]], distance: float, groups: Sequence[Sequence[str]]
) -> Spec:
    """Draw a critical-difference diagram (Demšar 2006): ranks on a line, bars over what cannot be told apart.

    ranks: (method, average rank), best first; groups: names of methods that lie within `distance`.
    """
    c, k, of = colours(), len(ranks), dict(ranks)
    half = math.ceil(k / 2)
    last = max(k, 2)
    edge = (last - 1) / 35  # from the line's ends to the names
    under = 14 + 6 * len(groups)  # pixels from the line to the first name
    leaders: Rows = []
    names: Tables = {"right": [], "left": []}
    for i, (name, rank) in enumerate(ranks):
        is_left = i < half
        end = 1 - edge if is_left else last + edge
        y = under + 17 * (i if is_left else k - 1 - i)
        tip = f"{name}: average rank {number(rank, 3)}"
        corners = ((rank, 0), (rank, y), (end, y))
        leaders += [{"name": name, "x": at, "y": down, "order": j} for j, (at, down) in enumerate(corners)]
        names["right" if is_left else "left"].append({"name": name, "x": end, "y": y, "tip": tip})
    cliques = [
        {"x": min(of[m] for m in group), "x2": max(of[m] for m in group), "y": 7 + 6 * i}
        for i, group in enumerate(groups)
    ]
    bottom = under + 17 * half
    x = altair().X("x:Q", scale=altair().Scale(domain=(1, last), nice=False, zero=False), axis=None)
    y = altair().Y("y:Q", scale=altair().Scale(domain=(bottom, -36), nice=False, zero=False), axis=None)
    ticks = [{"x": rank, "y": 0, "y2": -5, "name": str(rank)} for rank in range(1, k + 1)]
    line = [{"x": 1, "x2": last, "y": 0}]
    ruler = [{"x": 1, "x2": 1 + distance, "y": -32}]
    ink = {"color": c["ink"]}
    tables: Tables = {}
    layers = [
        rows_of(tables, line).mark_rule(strokeWidth=1.6, **ink).encode(x=x, x2="x2:Q", y=y),
        rows_of(tables, ticks).mark_rule(strokeWidth=1.6, **ink).encode(x=x, y=y, y2="y2:Q"),
        rows_of(tables, ticks)
        .mark_text(dy=-12, fontSize=11, color=c["muted"])
        .encode(x=x, y=y, text="name:N"),
        rows_of(tables, leaders)
        .mark_line(strokeWidth=1, color=c["muted"])
        .encode(x=x, y=y, detail="name:N", order="order:Q"),
        rows_of(tables, cliques)
        .mark_rule(strokeWidth=4, strokeCap="round", color=c["accent"])
        .encode(x=x, x2="x2:Q", y=y),
        rows_of(tables, ruler).mark_rule(strokeWidth=1.2, color=c["muted"]).encode(x=x, x2="x2:Q", y=y),
        rows_of(tables, [{"x": 1 + distance, "y": -32, "text": f"critical difference {number(distance, 3)}"}])
        .mark_text(align="left", dx=5, fontSize=11, color=c["muted"])
        .encode(x=x, y=y, text="text:N"),
        rows_of(tables, [{"x": (1 + last) / 2, "y": bottom, "text": "average rank (1 is best)"}])
        .mark_text(fontSize=11.5, **ink)
        .encode(x=x, y=y, text="text:N"),
    ]
    for align, rows in names.items():
        if rows:
            shift = -4 if align == "right" else 4
            text = rows_of(tables, rows).mark_text(align=align, dx=shift, fontSize=13, aria=True, **ink)
            layers.append(tipped(text, x=x, y=y, text="name:N"))
    size = {"width": 280, "height": bottom + 36}
    return finished(altair().layer(*layers).properties(view=no_frame(), **size), title, tables)
