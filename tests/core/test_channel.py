"""Channels: notes in their order, and a wish to stop."""

from core.channel import OfProcesses
from core.executor import Processes


def test_notes_come_in_their_order_and_a_wish_to_stop_is_seen():
    channel = OfProcesses()
    assert (channel.notes(), channel.stopped()) == ([], False)
    channel.put("one")
    channel.put("two")
    channel.stop()
    assert (channel.notes(), channel.notes(), channel.stopped()) == (["one", "two"], [], True)


def test_an_executor_opens_one():
    with Processes.channel(2) as channel:
        assert not channel.stopped()
