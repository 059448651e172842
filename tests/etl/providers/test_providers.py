import pytest

from etl import providers
from etl.errors import StrataError


@pytest.mark.parametrize("name", providers.PROVIDERS)
def test_every_provider_can_be_had(name):
    assert callable(providers.get(name).records)


@pytest.mark.parametrize("name", ["matmner", "../jarvis", "os"])
def test_unknown_provider(name):
    with pytest.raises(StrataError, match="unknown provider"):
        providers.get(name)
