"""The structures that a model of a store carries along for the golden predictions of a bundle."""

import featurestore
from heads.calibration import TrainingRow
from tests.stores import small_store, structure_id
from zoo.stored import EXAMPLES, _examples


def test_ten_structures_from_the_whole_range_each_once(tmp_path):
    store = featurestore.open(small_store(tmp_path / "store", splits=False))
    rows = [TrainingRow(f"alpha-{i}", structure_id(i % 30), "Si", float(i)) for i in range(40)]
    found = _examples(store, rows)
    assert len(found) == EXAMPLES
    assert len({one.structure_id for one in found}) == EXAMPLES
    assert len(_examples(store, rows[:3])) == 3
    assert _examples(store, []) == ()
