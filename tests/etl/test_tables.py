"""Checked records and cards as the tables of the store."""

import pytest

from etl.cards import list_cards
from etl.tables import Chunk, card_table, chunk_table, key_of
from featurestore.tables.log import Reject
from featurestore.tables.schema import DATASETS, SCHEMAS


@pytest.mark.parametrize("card", list_cards(), ids=lambda card: card.name)
def test_every_card_fits_its_table_and_keeps_the_order_of_its_properties(card):
    table = card_table(card)
    assert table.schema.equals(DATASETS)
    [row] = table.to_pylist()
    assert row["version"] == card.version
    said = [(item["name"], item["unit"], item["paper_name"]) for item in row["properties"]]
    assert said == [(name, item.unit, item.paper_name) for name, item in card.properties.items()]
    assert not any(table[field.name].null_count for field in DATASETS if not field.nullable)


def test_a_chunk_of_rejects_alone_gives_tables_without_rows():
    card = next(iter(list_cards()))
    for name in ("entries", "targets", "structures"):
        table = chunk_table(name, card, Chunk(rejects=[Reject("a", "empty", "no atoms")]))
        assert table.num_rows == 0
        assert table.schema.equals(SCHEMAS[name])


def test_a_key_changes_with_all_that_a_shard_is_made_of():
    one, other = (card_table(card) for card in list_cards()[:2])
    reject = Reject("a", "empty", "no atoms")
    asked = [
        (0, one, [], {}),
        (1, one, [], {}),
        (0, other, [], {}),
        (0, one, [reject], {}),
        (0, one, [], {"a": "b"}),
    ]
    assert len({key_of(*parts) for parts in asked}) == len(asked)
    assert key_of(0, one, [reject], {"a": "b", "c": "d"}) == key_of(0, one, [reject], {"c": "d", "a": "b"})
