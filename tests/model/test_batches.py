from __future__ import annotations

import itertools

import numpy as np
import pytest
from toy_digits import PIXELS, toy_digits

from mnist_pipeline.model import batches as module
from mnist_pipeline.model.batches import Batches, Images
from mnist_pipeline.model.normalize import FittedNormalizer, Scale

SCALE = FittedNormalizer("scale.v1", Scale(), {"pixels": PIXELS})


def numbered(rows: int, batch_size: int, seed: int = 0) -> Batches:
    """Batches of rows whose label is their number, so that one can see who comes when."""
    images, _ = toy_digits(rows)
    return Batches(
        images,
        np.arange(rows),
        SCALE,
        batch_size=batch_size,
        rng=np.random.default_rng(seed),
        dtype=np.float32,
    )


def one_epoch(batches: Batches, skip: int = 0) -> list[list[int]]:
    chosen = itertools.islice(batches, skip, skip + batches.steps_per_epoch)
    return [[int(label) for _, _, labels in batch for label in labels] for batch in chosen]


def test_an_epoch_is_every_row_once() -> None:
    epoch = one_epoch(numbered(1000, 64))
    assert [len(batch) for batch in epoch] == [64] * 15 + [40]
    assert sorted(itertools.chain(*epoch)) == list(range(1000))


def test_each_epoch_has_a_new_order_made_by_the_generator() -> None:
    first, again = one_epoch(numbered(500, 100)), one_epoch(numbered(500, 100))
    assert first == again
    assert first != one_epoch(numbered(500, 100), skip=5)
    assert first != one_epoch(numbered(500, 100, seed=1))


@pytest.mark.parametrize("batch_size", [0, 500, 10_000])
def test_a_full_batch_is_all_rows_as_they_lie(batch_size: int) -> None:
    batches = numbered(500, batch_size)
    assert batches.steps_per_epoch == 1
    assert one_epoch(batches) == one_epoch(batches, skip=3) == [list(range(500))]


def test_a_large_batch_comes_in_blocks_whose_shares_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 64)
    images, _ = toy_digits(500)
    batch = next(iter(numbered(500, 300)))
    shares, rows = [], []
    for share, x, labels in batch:
        np.testing.assert_array_equal(x, SCALE.transform(images[labels]))
        shares.append(share)
        rows.append(len(labels))
    assert rows == [64, 64, 64, 64, 44]
    assert shares == [n / 300 for n in rows]


def test_inputs_belong_to_their_labels() -> None:
    images, _ = toy_digits(200)
    for batch in itertools.islice(numbered(200, 30), 10):
        for share, x, labels in batch:
            assert share == 1
            np.testing.assert_array_equal(x, SCALE.transform(images[labels]))


def test_lit_pixels_are_those_of_the_rows_seen_so_far() -> None:
    images = np.eye(PIXELS, dtype=np.uint8)  # row i lights pixel i
    batches = Batches(
        images,
        np.arange(PIXELS),
        SCALE,
        batch_size=10,
        rng=np.random.default_rng(0),
        dtype=np.float32,
    )
    steps = iter(batches)
    seen = {int(label) for _ in range(3) for _, _, labels in next(steps) for label in labels}
    assert set(np.flatnonzero(batches.lit(3))) == seen
    assert len(seen) == 30
    for _ in range(4):
        next(steps)
    assert batches.lit(7).all()


@pytest.mark.parametrize("batch_size", [10, 0])
def test_distorted_images_are_what_the_network_sees_and_what_is_lit(batch_size: int) -> None:
    images = np.zeros((60, PIXELS), np.uint8)
    images[:, 3] = 100

    def to_the_right(raw: Images, out: Images) -> Images:
        out[...] = np.roll(raw, 1, axis=1)
        return out

    batches = Batches(
        images,
        np.arange(60),
        SCALE,
        batch_size=batch_size,
        rng=np.random.default_rng(0),
        dtype=np.float32,
        distort=to_the_right,
    )
    for batch in itertools.islice(batches, 3):
        for _, x, _ in batch:
            assert (x[:, 4] > 0).all()
            assert np.count_nonzero(x) == len(x)
    assert list(np.flatnonzero(batches.lit(3))) == [4]
    assert images[:, 3].all()  # the rows themselves stay as they are
