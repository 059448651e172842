"""Tasks in threads: in order, taken as needed, errors in their place."""

import threading

import pytest

from core.threads import AHEAD, cores, ordered


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_tasks(workers):
    assert list(ordered(lambda n: n * n, range(50), workers)) == [n * n for n in range(50)]


def test_tasks_are_taken_as_they_are_needed():
    taken = []
    found = ordered(str, (taken.append(n) or n for n in range(1000)), 2)
    assert next(found) == "0"
    assert len(taken) <= 2 * AHEAD + 1
    found.close()
    assert len(taken) <= 2 * AHEAD + 1


def test_threads_run_at_once():
    together = threading.Barrier(2, timeout=30)
    assert len(list(ordered(lambda _: together.wait(), range(2), 2))) == 2


def test_an_error_is_raised_in_its_place_and_no_more_are_begun():
    begun = []

    def work(n):
        begun.append(n)
        return 1 // (n - 3)

    found = ordered(work, range(1000), 2)
    assert [next(found) for _ in range(3)] == [-1, -1, -1]
    with pytest.raises(ZeroDivisionError):
        next(found)
    assert len(begun) < 20


def test_there_is_a_core():
    assert cores() >= 1
