from core.params import Ingest
from core.validation import validate
from etl.cards import load_card
from etl.providers import hopv
from tests import published

CARD = load_card("hopv")


def test_conformers_of_one_molecule_get_names_of_their_own(tmp_path):
    path = published.hopv(tmp_path / CARD.source.file)
    found = list(hopv.records(CARD, path, Ingest()))
    assert [record.entry_id for record in found] == [
        "molecule 0",
        "molecule 0-2",
        "molecule 1",
        "molecule 1-2",
    ]
    for record in found:
        validate(record.structure, Ingest())
        assert record.structure.lattice[0, 0] == 40.0  # the box of the file, not one of ours
        assert set(record.values) >= {item.column for item in CARD.properties.values()}
