"""Engines by their names in params.yaml."""

import pytest

from core import engines
from core.engines import executor_of, session
from core.errors import StrataError
from core.executor import Processes
from core.params import parse
from core.ray_executor import OnRay


def test_every_section_with_an_engine_names_one_that_there_is():
    for section in ("extract", "fit", "finetune"):
        params = parse({section: {"engine": "ray"}})
        assert executor_of(getattr(params, section).engine) is OnRay
        assert executor_of(getattr(parse({}), section).engine) is Processes
        with pytest.raises(StrataError, match=rf"{section}.engine"):
            parse({section: {"engine": "spark"}})


def test_a_session_starts_a_cluster_only_where_one_is_asked_for(monkeypatch):
    started = []
    monkeypatch.setattr(engines, "cluster", lambda: started.append(1) or session("local"))
    with session("local", "local"):
        assert not started
    with session("local", "ray"):
        assert started
