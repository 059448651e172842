"""One-cycle against torch's own; batches that are the same from the same settings."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.params import Train
from zoo.training.schedule import Plan, one_cycle


def test_one_cycle_is_torchs_own():
    total, optimizer = 1000, torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=total)
    for step in range(total - 1):
        rate, beta = one_cycle(step / (total - 1), 2e-3)
        group = optimizer.param_groups[0]
        # torch counts 0.3 · total - 1 steps of warming up: within a step of ours
        assert rate == pytest.approx(group["lr"], abs=2e-3 * 5 / total)
        assert beta == pytest.approx(group["betas"][0], abs=0.1 * 5 / total)
        optimizer.step()
        theirs.step()


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 500), st.integers(0, 3), st.integers(0, 2**31))
def test_every_row_once_an_epoch_within_the_limits(n, size, limit, epoch, seed):
    costs = np.random.default_rng(seed).integers(0, 100, n)
    plan = Plan(np.arange(n), costs, Train(epochs=4, batch_size=size, angles_per_step=limit, seed=seed))
    steps = plan.steps(epoch)
    assert sorted(np.concatenate(steps).tolist()) == list(range(n))
    assert all(0 < len(step) <= size for step in steps)
    assert all(len(step) == 1 or costs[step].sum() <= limit + 2 * costs.max() for step in steps)
    again = plan.steps(epoch)
    assert all(np.array_equal(a, b) for a, b in zip(steps, again, strict=True))
    assert plan.progress(0, 0) == 0
    assert plan.progress(3, n) == 1


def test_epochs_are_shuffled_differently():
    plan = Plan(np.arange(50), np.ones(50), Train(epochs=2, batch_size=50))
    assert not np.array_equal(plan.steps(0)[0], plan.steps(1)[0])


def test_curriculum_begins_with_the_cheap_ones():
    costs = np.array([1, 10, 100, 5])
    plan = Plan(np.arange(4), costs, Train(epochs=6), curriculum=((4, 10), (2, 5)))
    seen = [sorted(np.concatenate(plan.steps(epoch)).tolist()) for epoch in range(6)]
    assert seen == [[0, 3], [0, 3], [0, 1, 3], [0, 1, 3], [0, 1, 2, 3], [0, 1, 2, 3]]
    assert plan.total == 2 + 2 + 3 + 3 + 4 + 4
    assert plan.progress(4, 0) == 10 / 18
