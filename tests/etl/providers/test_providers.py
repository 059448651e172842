import pytest

from core.errors import StrataError
from etl import providers


@pytest.mark.parametrize("name", providers.PROVIDERS)
def test_every_provider_can_be_had(name):
    assert callable(providers.get(name).records)


@pytest.mark.parametrize("name", ["matmner", "../jarvis", "os"])
def test_unknown_provider(name):
    with pytest.raises(StrataError, match="unknown provider"):
        providers.get(name)
