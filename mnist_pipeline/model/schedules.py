"""Learning-rate schedules: pure functions of the step.

They count steps and never look at the clock, so a slower machine trains the same model.
`progress` is the share of steps done, in [0, 1); each function returns a factor for the peak rate.
"""

from __future__ import annotations

import math
from typing import Literal

ScheduleName = Literal["constant", "step", "exponential", "cosine", "one_cycle"]

ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1e-4
"""Where one_cycle starts and ends, as factors (the common defaults; Smith & Topin 2018)."""


def constant(progress: float) -> float:  # noqa: ARG001 (one signature for all)
    """The peak rate throughout."""
    return 1.0


def step(progress: float, *, decay: float, milestones: tuple[float, ...]) -> float:
    """`decay` ^ (milestones passed): a staircase."""
    return math.prod(decay for milestone in milestones if progress >= milestone)


def exponential(progress: float, *, decay: float) -> float:
    """`decay` ^ progress: from 1 to `decay`, the same ratio every step."""
    return math.exp(progress * math.log(decay))


def cosine(progress: float) -> float:
    """½·(1 + cos(π·progress)): from 1 to 0 (Loshchilov & Hutter 2017, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def one_cycle(progress: float, *, peak_at: float) -> float:
    """Up to 1 at `peak_at`, then down to almost 0, both along a cosine (Smith & Topin 2018)."""
    if progress < peak_at:
        return 1 + (ONE_CYCLE_START - 1) * cosine(progress / peak_at)
    return ONE_CYCLE_END + (1 - ONE_CYCLE_END) * cosine((progress - peak_at) / (1 - peak_at))


def learning_rate(
    schedule: ScheduleName,
    step_index: int,
    total_steps: int,
    *,
    peak: float,
    warmup: float = 0.0,
    decay: float = 0.1,
    milestones: tuple[float, ...] = (0.5, 0.75),
    peak_at: float = 0.3,
) -> float:
    """The learning rate of one step.

    Args:
        schedule: the name of a function above.
        step_index: from 0.
        total_steps: of the whole training.
        peak: the highest learning rate.
        warmup: the share of steps over which the rate first rises linearly to the schedule's start;
            the schedule itself runs over the steps that remain.
        decay: of `step` at each milestone; of `exponential` over the whole training.
        milestones: of `step`, as shares of the schedule.
        peak_at: of `one_cycle`, as a share of the schedule.
    """
    warmup_steps = round(warmup * total_steps)
    if step_index < warmup_steps:
        rising, progress = (step_index + 1) / warmup_steps, 0.0
    else:
        rising, progress = 1.0, (step_index - warmup_steps) / (total_steps - warmup_steps)
    match schedule:
        case "constant":
            factor = constant(progress)
        case "step":
            factor = step(progress, decay=decay, milestones=milestones)
        case "exponential":
            factor = exponential(progress, decay=decay)
        case "cosine":
            factor = cosine(progress)
        case "one_cycle":
            factor = one_cycle(progress, peak_at=peak_at)
    return peak * rising * factor
