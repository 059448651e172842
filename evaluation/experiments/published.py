"""Published results, kept apart from ours: laid beside a table, never put into it."""

from importlib.resources import files

import pandas as pd

from etl.cards import list_cards, load_card

CITATION = "Gupta et al. 2024"


def published() -> pd.DataFrame:
    """Return the published MAEs: dataset, paper_name, rows, base, scratch, transfer, and their table.

    >>> published().query("paper_name == 'Exfoli'")[["rows", "scratch"]].values.tolist()
    [[742.0, 37.131]]
    """
    with files("evaluation").joinpath("experiments/published.csv").open("rb") as file:
        return pd.read_csv(file)


def beside(table: pd.DataFrame) -> pd.DataFrame:
    """Return our transfer and scratch MAE beside the published ones, for targets that were published.

    Parts, epochs and source model differ; a target is recognised by the paper's name on its card.
    """
    known = published()
    named = {card.name for card in list_cards()}
    rows = []
    for row in table[table["dataset"].isin(named)].to_dict("records"):
        card = load_card(row["dataset"])
        prop = card.properties.get(row["property"])
        found = known[
            (known["dataset"] == row["dataset"]) & (known["paper_name"] == (prop and prop.paper_name))
        ]
        if len(found):
            theirs = found.iloc[0]
            own = {name: row.get(name) for name in ("property", "dataset", "unit", "scheme", "rows", "label")}
            ours = {name: row.get(name) for name in ("base", "scratch", "transfer")}
            rows.append(
                own
                | ours
                | {f"published_{name}": theirs[name] for name in ("rows", "base", "scratch", "transfer")}
            )
    return pd.DataFrame(rows)
