import pyarrow as pa
import pytest

from featurestore.tables.schema import CHECKPOINTS, FEATURES, SCHEMAS, VECTOR, WIDTH


def test_the_23_checkpoints_are_columns_in_order():
    names = [checkpoint.name for checkpoint in CHECKPOINTS]
    assert len(names) == 23
    assert FEATURES.names[-23:] == names
    assert all(FEATURES.field(name).type == VECTOR for name in names)
    assert VECTOR.list_size == WIDTH == 256


def test_vectors_and_their_numbers_are_never_null():
    assert not any(FEATURES.field(checkpoint.name).nullable for checkpoint in CHECKPOINTS)
    assert not VECTOR.value_field.nullable


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_table_can_be_empty(kind):
    table = SCHEMAS[kind].empty_table()
    assert table.schema == SCHEMAS[kind]
    assert isinstance(table, pa.Table)
