"""The README.md of a model bundle: a model card as the Hugging Face hub reads it, and as people do."""

import re
from collections.abc import Sequence

import yaml

from core.structure import SYMBOLS
from core.text import number
from heads.domain import OUTSIDE_FROM
from zoo.bundle_config import Config
from zoo.model import NETWORK, Model

# Identifiers of the hub, by how a licence of a dataset begins.
_LICENCES = (
    (r"apache[- ]2", "apache-2.0"), (r"cc[- ]by[- ]4", "cc-by-4.0"), (r"cc[- ]by[- ]sa[- ]4", "cc-by-sa-4.0"),
    (r"cc[- ]by[- ]nc[- ]4", "cc-by-nc-4.0"), (r"cc0", "cc0-1.0"), (r"mit\b", "mit"),
    (r"bsd[- ]3", "bsd-3-clause"),
    (r"lgpl[- ]2\.1", "lgpl-2.1"), (r"lgpl[- ]3", "lgpl-3.0"), (r"gpl[- ]3", "gpl-3.0"),
)  # fmt: skip

_THREE_LINES = """```python
import strata

model = strata.load("{}")
print(model.predict("structure.cif"))
```"""


def readme(model: Model, config: Config, source_licences: Sequence[tuple[str, str]], example: str) -> str:
    """Write the model card.

    source_licences: name and licence of each source model. example: how the bundle is named where it is
    loaded.
    """
    card = model.card
    parts = [
        f"# {_text(card.property)} after {_text(card.dataset)}",
        _what(model),
        "## How good it is",
        _errors(model),
        "## Where it holds",
        _domain(model, config),
        "## How to use it",
        f"With Strata {config.environment.get('strata', '')} or later installed:",
        _THREE_LINES.format(example),
        f"Or on the command line: `strata predict structure.cif --model {example}`. Structures are CIF, "
        "POSCAR or XYZ files, or objects of ASE, pymatgen and jarvis-tools." + _columns(model),
        "## What it is made of",
        _made_of(model, source_licences),
        "## Data",
        _data(config),
        "## Made with",
        ", ".join(f"{name} {version}" for name, version in sorted(config.environment.items()))
        + f"; run `{card.run_id[:12]}`, split {_text(card.split)}.",
    ]
    return f"---\n{_front(config)}---\n\n" + "\n\n".join(parts) + "\n"


def _front(config: Config) -> str:
    card = config.card
    begins = card.licence.strip().lower()
    known = next((name for pattern, name in _LICENCES if re.match(pattern, begins)), None)
    facts: dict[str, object] = {"license": known or "other"}
    if known is None:
        facts["license_name"] = re.sub(r"[^a-z0-9.]+", "-", begins)[:60].strip("-") or "unknown"
    facts |= {
        "library_name": "strata",
        "tags": [
            "strata",
            "materials-science",
            "tabular-classification" if card.classes else "tabular-regression",
        ],
        "datasets": [card.dataset],
        "metrics": ["balanced_accuracy"] if card.classes else ["mae"],
    }
    return str(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True))


def _what(model: Model) -> str:
    card = model.card
    if card.classes:
        what = f"the class of a structure among {', '.join(map(_text, card.classes))}"
    else:
        what = f"one number per structure, in {_text(card.unit) if card.unit else 'no unit'}"
    caution = f" {_sentence(card.caution)}" if card.caution else ""
    return (
        f"A model that predicts {_text(card.property)} of crystals and molecules: {what}. It learned from "
        f"{card.rows:,} entries of the dataset {_text(card.dataset)}.{caution}"
    )


def _errors(model: Model) -> str:
    card, lines = model.card, []
    where = "the test part, which it has not seen"
    if card.repetitions > 1:
        where = f"the test parts of {card.repetitions} draws of the split"
    if card.balanced_accuracy is not None:
        lines.append(f"Balanced accuracy on {where}: {number(card.balanced_accuracy, 3)}.")
    elif card.test_mae is not None:
        spread = "" if card.test_mae_sd is None else f" ± {number(card.test_mae_sd, 2)}"
        base = ""
        if card.base_test_mae is not None:
            of_base = f"{number(card.base_test_mae)} {_text(card.unit)}"
            base = f" Base, the mean of the training values, has {of_base}."
        lines.append(
            f"Mean absolute error on {where}: {number(card.test_mae)}{spread} {_text(card.unit)}.{base}"
        )
    else:
        lines.append("It was not tested on values that it has not seen.")
    seen = {verdict: one for verdict, one in model.calibration.seen.items() if one.mae is not None}
    if seen:
        table = "\n".join(
            f"| {verdict} | {one.rows:,} | {number(one.mae, 3)} |" for verdict, one in seen.items()
        )
        lines.append(
            "Mean absolute errors of rows that the model was not fitted on, by where they lie:\n\n"
            f"| domain | rows | error ({_text(card.unit)}) |\n| --- | --- | --- |\n{table}"
        )
    return "\n\n".join(lines)


def _domain(model: Model, config: Config) -> str:
    intervals = model.calibration.intervals
    lines = []
    if intervals is not None:
        wide = (
            ""
            if config.with_data
            else " They are equally wide everywhere, as the training data stayed at home."
        )
        lines.append(
            "Every prediction comes with an interval that is meant to hold 90 % of values (another share: "
            f"`level`). Its width rests on {len(intervals.residuals):,} rows that the model was not "
            f"fitted on (conformal prediction); it holds for structures like them.{wide}"
        )
    elements = [SYMBOLS[z] for z in sorted(model.calibration.domain.elements) if z < len(SYMBOLS)]
    lines.append(
        "Each structure is placed inside, at the edge of, or outside the domain of the training rows, by the "
        f"vectors of the source models; outside from {OUTSIDE_FROM:.0f} % of them on, or with an element "
        f"that none has, an interval promises nothing. Elements of the training rows: {' '.join(elements)}."
    )
    return "\n\n".join(lines)


def _columns(model: Model) -> str:
    names = [column for reads in model.sources.values() for column in reads.columns]
    if not names:
        return ""
    return f" It also reads a table with the columns {', '.join(names)}, given by `columns` (`--columns`)."


def _made_of(model: Model, source_licences: Sequence[tuple[str, str]]) -> str:
    card = model.card
    if model.network is not None:
        lines = ["A network of this property's own (ALIGNN), whose weights are in `network/`."]
    else:
        rows = "\n".join(
            f"| {_text(member.name or card.head)} | {member.weight / _total(model):.3f} | "
            f"{', '.join(dict.fromkeys(block.source for block in member.blocks))} |"
            for member in model.members
        )
        lines = [f"| head | weight | reads |\n| --- | --- | --- |\n{rows}"]
    told = []
    licences = dict(source_licences)
    for name, reads in model.sources.items():
        if name == NETWORK or reads.columns:
            continue
        place = "brought along in `models/`" if reads.folder is not None else "which `strata` has or fetches"
        licence = f"; {_text(licences[name])}" if licences.get(name) else ""
        told.append(f"- `{name}`, {place}{licence}")
    if told:
        lines.append(
            "Source models, pretrained networks whose inner layers the heads read:\n\n" + "\n".join(told)
        )
    return "\n\n".join(lines)


def _total(model: Model) -> float:
    return sum(member.weight for member in model.members)


def _data(config: Config) -> str:
    card = config.card
    inside = (
        "The bundle holds ids, formulas, values and projected vectors of the training rows (`training.json`, "
        "`domain.safetensors`), so that predictions name their nearest training entries: the licence of the "
        "data holds for it."
        if config.with_data
        else "The training data are not in the bundle: no ids, formulas, values or vectors of entries. What "
        "is left of them are weights, centres of clusters of vectors, distances, residuals, and the elements."
    )
    citation = _sentence(card.citation) if card.citation else ""
    doi = f" https://doi.org/{_text(card.doi)}" if card.doi else ""
    return f"Licence of the data: {_sentence(card.licence or 'not stated')} {citation}{doi}\n\n{inside}"


def _sentence(text: str) -> str:
    text = _text(text).strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _text(text: str) -> str:
    """Return text of a file that is nothing but text in Markdown."""
    return re.sub(r"[\r\n]+", " ", text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
