"""Shares: every slice that is to be answered is handed out once, in order, in good measure."""

from __future__ import annotations

import dataclasses
import pickle

from hypothesis import given
from hypothesis import strategies as st

from mnist_pipeline.score.inputs import InputFile
from mnist_pipeline.score.options import ScoreOptions
from mnist_pipeline.score.shares import MOST_BATCHES, batches, shares
from mnist_pipeline.score.slices import FilePlan, Job

JOB = Job("workspace", "digits", 1, "0" * 64, "answers", ScoreOptions(), slice_rows=100)


def plan(name: str, rows: tuple[int, ...], *, done: bool = False) -> FilePlan:
    """A file of slices with so many rows each."""
    cuts = tuple((n, n + 1, sum(rows[:n]), count) for n, count in enumerate(rows))
    return FilePlan(InputFile("in", name, name), "0" * 64, sum(rows), name, cuts, done, "")


plans = st.lists(
    st.tuples(st.lists(st.integers(1, 250), min_size=1, max_size=5), st.booleans()), max_size=30
).map(lambda files: [plan(str(i), tuple(f[0]), done=f[1]) for i, f in enumerate(files)])


@given(plans)
def test_every_slice_is_in_one_share_in_order(plans: list[FilePlan]) -> None:
    cut = shares(JOB, plans)
    wanted = [(p.key, n) for p in plans if not p.done for n in range(len(p.cuts))]
    assert [(p.key, n) for share in cut for p, n in share.slices] == wanted
    for share in cut[:-1]:  # large enough to be worth it, and no slice too many
        *others, last = (p.cuts[n][3] for p, n in share.slices)
        assert share.rows == sum(others) + last >= JOB.slice_rows > sum(others)


@given(st.integers(0, 1000))
def test_every_file_is_planned_once(count: int) -> None:
    files = [InputFile("in", str(n), str(n)) for n in range(count)]
    handed_out = batches(files)
    assert [file for batch in handed_out for file in batch] == files
    assert len(handed_out) <= MOST_BATCHES
    assert all(handed_out)


def test_a_share_travels_and_says_what_it_is() -> None:
    large = shares(dataclasses.replace(JOB, slice_rows=10), [plan("large", (10, 10))])
    assert [str(share) for share in large] == ["large 1/2", "large 2/2"]
    (small,) = shares(JOB, [plan("a", (5,)), plan("b", (5,)), plan("c", (5,))])
    assert str(small) == "a and 2 more"
    assert pickle.loads(pickle.dumps(small)) == small
