import pyarrow as pa
import pytest

from featurestore.tables.schema import (
    FEATURES_ALWAYS,
    KINDS,
    SCHEMAS,
    Checkpoint,
    features_schema,
    is_vector,
    vector_type,
)

TWO = (Checkpoint("site_0", "site", 0, 3), Checkpoint("pair_1", "pair", 1, 5))


def test_a_table_of_vectors_has_its_source_models_counts_and_checkpoints_in_order():
    found = features_schema(("n_pairs",), TWO)
    assert found.names == [*FEATURES_ALWAYS[:3], "n_pairs", "prediction", "site_0", "pair_1"]
    assert [name for name in found.names if is_vector(found.field(name).type)] == ["site_0", "pair_1"]
    assert [found.field(checkpoint.name).type.list_size for checkpoint in TWO] == [3, 5]


def test_vectors_and_their_numbers_are_never_null():
    found = features_schema((), TWO)
    assert not any(found.field(checkpoint.name).nullable for checkpoint in TWO)
    assert not vector_type(4).value_field.nullable


def test_other_columns_are_no_vectors():
    assert not any(is_vector(field.type) for schema in SCHEMAS.values() for field in schema)


def test_vectors_are_the_one_kind_without_a_schema_of_all():
    assert set(KINDS) - set(SCHEMAS) == {"features"}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_table_can_be_empty(kind):
    table = SCHEMAS[kind].empty_table()
    assert table.schema == SCHEMAS[kind]
    assert isinstance(table, pa.Table)
