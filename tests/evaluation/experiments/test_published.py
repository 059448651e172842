"""The published table beside ours."""

import pandas as pd

from etl.cards import load_card
from evaluation.experiments.published import beside, published


def test_all_of_table_4_belongs_to_properties_of_the_card():
    names = {prop.paper_name for prop in load_card("jarvis_2d").properties.values()}
    table = published()
    assert len(table) == 32
    assert set(table["paper_name"]) <= names
    assert (table["transfer"] < table["scratch"]).sum() == 27  # what the paper's text says of it


def test_ours_stand_beside_theirs_and_unpublished_targets_are_left_out():
    table = pd.DataFrame(
        {
            "dataset": ["jarvis_2d", "ase_g2", "nobody_knows"],
            "property": ["exfoliation_energy", "zero_point_energy", "x"],
            "unit": "meV/atom",
            "scheme": "random",
            "rows": 700,
            "label": "demo",
            "base": 60.0,
            "scratch": 40.0,
            "transfer": 39.0,
        }
    )
    (row,) = beside(table).to_dict("records")
    assert (row["transfer"], row["published_transfer"], row["published_rows"]) == (39.0, 36.213, 742)
