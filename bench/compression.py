"""What symmetry compression saves: rows kept, a dataset at a time, and the figure for docs/compression.md.

    STRATA_RAW=... python bench/compression.py

Under the graph settings of the embedded source model; datasets of more than 1,000 structures by 1,000 drawn
with seed 0. Writes bench/results/compression.md and docs/img/compression.svg.
"""

from pathlib import Path

import numpy as np

from core.errors import StrataError
from core.params import Params
from core.structure import Structure
from etl import raw
from etl.cards import load_card
from etl.providers import get
from zoo.backbones.alignn.backbone import prepare
from zoo.backbones.alignn.graph import GraphSettings
from zoo.hub import load_source

ROOT = Path(__file__).parents[1]
DATASETS = (
    "ase_elements",
    "ase_g2",
    "emt_alloys",
    "dielectric_constant",
    "piezoelectric_tensor",
    "jarvis_3d",
    "megnet",
)
MOST = 1000
KINDS = ("atoms", "bonds", "angles")
COLOURS = ("#0072B2", "#009E73", "#E69F00")  # told apart by the colour-blind (Okabe and Ito)


def main() -> None:
    """Measure every dataset whose file is at hand, write the table and the figure."""
    graph = load_source("alignn_mp_eform").card.graph
    rows = []
    for name in DATASETS:
        try:
            structures = sample(name)
        except StrataError as error:
            print(f"{name}: left out: {error}")
            continue
        rows.append((name, len(structures), *measure(structures, graph)))
        print(*rows[-1])
    write_table(rows, graph)
    write_figure(rows)


def sample(name: str) -> list[Structure]:
    """Up to 1,000 structures of a dataset."""
    params = Params()
    version = {"jarvis_3d": "dft_3d_2022"}.get(name)
    card = load_card(name) if version is None else load_card(name, version)
    file = raw.find(card) if card.source else None
    records = get(card.provider).records(card, file.path if file else None, params.ingest)
    found = [record.structure for record in records if record.structure is not None]
    if len(found) <= MOST:
        return found
    return [found[i] for i in np.random.default_rng(0).choice(len(found), MOST, replace=False)]


def measure(structures: list[Structure], graph: GraphSettings) -> tuple[float, float, float, float, float]:
    """Share of atoms, bonds and angles that are left, and mean angles before and after."""
    before, after = np.zeros(3), np.zeros(3)
    for structure in structures:
        p = prepare(structure, graph, compression=True, max_angles=10**9)
        before += structure.n_atoms, p.n_bonds, p.n_angles
        after += len(p.quotient.numbers), len(p.quotient.length), len(p.quotient.cosine)
    share = after / before
    return (*share, before[2] / len(structures), after[2] / len(structures))


def write_table(rows: list[tuple], graph: GraphSettings) -> None:
    """bench/results/compression.md."""
    lines = [
        "# Rows left by symmetry compression",
        "",
        f"`python bench/compression.py`, graph settings `{graph.model_dump_json()}`.",
        "",
        "| dataset | structures | atoms left | bonds left | angles left | mean angles before | after |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| `{n}` | {count:,} | {a:.1%} | {b:.1%} | {z:.1%} | {before:,.0f} | {after:,.0f} |"
        for n, count, a, b, z, before, after in rows
    ]
    (ROOT / "bench/results/compression.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_figure(rows: list[tuple]) -> None:
    """docs/img/compression.svg: three bars a dataset, in per cent of the rows."""
    step, left, width = 54, 170, 420
    height = 40 + step * len(rows) + 34
    full = left + width + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {full} {height}" font-size="13">',
        "<style>text {font-family: system-ui, sans-serif}</style>",
        f'<rect width="{full}" height="{height}" fill="#ffffff"/>',
    ]
    for k, (kind, colour) in enumerate(zip(KINDS, COLOURS, strict=True)):
        parts.append(f'<rect x="{left + 90 * k}" y="10" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{left + 90 * k + 18}" y="21" fill="#222">{kind}</text>')
    for tick in range(0, 101, 25):
        x = left + width * tick / 100
        parts.append(f'<line x1="{x}" x2="{x}" y1="36" y2="{height - 34}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{height - 18}" text-anchor="middle" fill="#555">{tick} %</text>')
    for k, (name, _count, *shares) in enumerate(rows):
        y = 44 + step * k
        parts.append(f'<text x="{left - 10}" y="{y + 25}" text-anchor="end" fill="#222">{name}</text>')
        for i, colour in enumerate(COLOURS):
            share = shares[i]
            parts.append(
                f'<rect x="{left}" y="{y + 14 * i}" width="{width * share:.1f}" height="12" fill="{colour}"/>'
            )
            parts.append(
                f'<text x="{left + width * share + 5:.1f}" y="{y + 14 * i + 10}" font-size="11" '
                f'fill="#555">{share:.0%}</text>'
            )
    parts.append(
        f'<text x="{left + width / 2}" y="{height - 2}" text-anchor="middle" fill="#222">'
        "rows left by compression</text></svg>"
    )
    target = ROOT / "docs/img/compression.svg"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
