from __future__ import annotations

import itertools
import math
import typing

import pytest

from mnist_pipeline.model.schedules import ONE_CYCLE_START, ScheduleName, learning_rate

TOTAL = 1000
ALL = typing.get_args(ScheduleName)


def rates(schedule: ScheduleName, total: int = TOTAL, **options: typing.Any) -> list[float]:
    return [learning_rate(schedule, i, total, peak=2.0, **options) for i in range(total)]


def test_constant() -> None:
    assert set(rates("constant")) == {2.0}


def test_step_falls_at_its_milestones() -> None:
    r = rates("step", decay=0.1, milestones=(0.5, 0.75))
    assert r[499] == 2.0
    assert r[500] == r[749] == pytest.approx(0.2)
    assert r[750] == r[-1] == pytest.approx(0.02)


def test_exponential_falls_by_one_ratio_to_its_decay() -> None:
    r = rates("exponential", decay=0.01)
    assert r[0] == 2.0
    ratios = [b / a for a, b in itertools.pairwise(r)]
    assert min(ratios) == pytest.approx(max(ratios))
    assert r[-1] * ratios[0] == pytest.approx(2.0 * 0.01)


def test_cosine() -> None:
    r = rates("cosine")
    assert r[0] == 2.0
    assert r[TOTAL // 2] == pytest.approx(1.0)
    assert r[TOTAL // 4] == pytest.approx(1 + math.cos(math.pi / 4))
    assert 0 < r[-1] < 1e-4
    assert r == sorted(r, reverse=True)


def test_one_cycle_rises_then_falls() -> None:
    r = rates("one_cycle", peak_at=0.3)
    assert r[0] == pytest.approx(2 * ONE_CYCLE_START)
    assert r.index(max(r)) == 300
    assert max(r) == pytest.approx(2.0)
    assert r[:301] == sorted(r[:301])
    assert r[300:] == sorted(r[300:], reverse=True)
    assert r[-1] < 1e-3


@pytest.mark.parametrize("schedule", ALL)
def test_warmup_rises_linearly_and_then_the_whole_schedule_runs(schedule: ScheduleName) -> None:
    warm, rest = rates(schedule, warmup=0.2), rates(schedule, total=800)
    start = rest[0]
    assert warm[:200] == pytest.approx([start * (i + 1) / 200 for i in range(200)])
    assert warm[200:] == pytest.approx(rest)


@pytest.mark.parametrize("schedule", ALL)
@pytest.mark.parametrize("warmup", [0.0, 0.5, 0.99])
def test_every_rate_of_a_short_training_is_usable(schedule: ScheduleName, warmup: float) -> None:
    for total in (1, 2, 3, 7):
        for rate in rates(schedule, total=total, warmup=warmup):
            assert 0 < rate <= 2.0
