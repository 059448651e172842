"""Progress: bars on a terminal, a line now and then in a log, silence where there is nothing to do."""

import pytest

from core import progress
from core.progress import Bars, Meter


@pytest.fixture
def talkative(monkeypatch):
    monkeypatch.setattr(progress, "_QUIET", -1.0)


def test_every_item_comes_and_stdout_stays_empty(capsys):
    assert list(progress.progress([1, 2, 3], "alpha")) == [1, 2, 3]
    assert capsys.readouterr().out == ""


def test_a_log_is_not_filled_with_lines(capsys):
    assert list(progress.progress(range(100), "alpha")) == list(range(100))
    assert capsys.readouterr().err == ""


def test_a_log_has_lines_with_what_was_said_and_the_time_left(talkative, capsys):
    with Bars() as bars:
        bars.show("a", "training a [1]", 0, 4)
        bars.show("a", "step, no line", 1, 4, line=False)
        bars.show("a", "training a [2]", 2, 4)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["training a [1]; 0 %, 0 min left", "training a [2]; 50 %, 0 min left"]


def test_without_a_total_no_time_is_promised(talkative, capsys):
    with Bars("bytes") as bars:
        bars.show("file.zip", "file.zip", 10, None)
        bars.over("file.zip")
        bars.over("never shown")
    assert capsys.readouterr().err == "file.zip\n"


def test_a_meter_shows_rates_and_rejects(talkative, capsys):
    with Meter("extract", 10) as meter:
        meter.advance(4, angles=100, rejects=1)
        meter.advance(6, angles=50)
    first, last = capsys.readouterr().err.splitlines()
    for word in ("extract: ", " structures/s · ", " angles/s · 1 rejected", "40 %"):
        assert word in first
    assert "1 rejected; 100 %" in last
    assert meter.seconds > 0


def test_nothing_to_do_is_silent(talkative, capsys):
    with Meter("extract", 0) as meter:
        meter.advance(0, angles=0, rejects=0)
    assert list(progress.progress([], "alpha")) == []
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
