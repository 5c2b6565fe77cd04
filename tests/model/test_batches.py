"""Which rows a step sees, in which shares, and what the network is given of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from toy_digits import PIXELS, toy_digits

from mnist_pipeline.model.batches import Distort, Images, Loader, Order, Rows, halves
from mnist_pipeline.model.normalize import FittedNormalizer, Scale

SCALE = FittedNormalizer("scale.v1", Scale(), {"pixels": PIXELS})


# --- Order ---


def steps(order: Order, first: int, last: int) -> list[list[int]]:
    """The rows of some steps, one after the other."""
    everything = np.arange(order.rows)
    return [everything[order.batch(step)].tolist() for step in range(first, last + 1)]


def order_of(rows: int, batch_size: int, seed: int = 0) -> Order:
    return Order(rows, batch_size, np.random.default_rng(seed))


def test_an_epoch_is_every_row_once() -> None:
    order = order_of(1000, 64)
    assert order.steps_per_epoch == 16
    for epoch in range(3):
        batches = steps(order, 16 * epoch + 1, 16 * epoch + 16)
        assert [len(batch) for batch in batches] == [64] * 15 + [40]
        assert sorted(itertools.chain(*batches)) == list(range(1000))


def test_each_epoch_has_a_new_order_made_by_the_generator() -> None:
    order = order_of(500, 100)
    first, second = steps(order, 1, 5), steps(order, 6, 10)
    assert first == steps(order_of(500, 100), 1, 5)
    assert first != second
    assert first != steps(order_of(500, 100, seed=1), 1, 5)


@pytest.mark.parametrize("batch_size", [0, 500, 10_000])
def test_a_full_batch_is_all_rows_as_they_lie(batch_size: int) -> None:
    order = order_of(500, batch_size)
    before = order.rng.bit_generator.state
    assert (order.steps_per_epoch, order.batch_size) == (1, 500)
    assert steps(order, 1, 3) == [list(range(500))] * 3
    assert order.current is None
    assert order.rng.bit_generator.state == before


def test_an_order_goes_on_from_its_epoch_and_its_generator() -> None:
    undisturbed = steps(order_of(130, 20), 1, 21)
    for stop in range(1, 21):
        order = order_of(130, 20)
        steps(order, 1, stop)
        again = order_of(130, 20, seed=9)
        again.rng.bit_generator.state = order.rng.bit_generator.state
        assert order.current is not None
        again.current = order.current.copy()
        assert steps(again, stop + 1, 21) == undisturbed[stop:]


def test_seen_is_the_rows_of_the_first_batches() -> None:
    order = order_of(100, 30)
    rows = np.arange(100)
    chosen: set[int] = set()
    for step in range(1, 4):
        chosen |= set(rows[order.batch(step)])
        assert set(rows[order.seen(step)]) == chosen
    assert len(chosen) == 90
    order.batch(4)
    for step in (4, 5, 100):
        assert set(rows[order.seen(step)]) == set(rows)
    assert set(rows[order_of(100, 0).seen(1)]) == set(rows)


# --- halves ---


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 64])
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_shares_are_contiguous_and_as_equal_as_can_be(count: int, parts: int) -> None:
    everything = np.arange(100, 200)
    chosen: Rows = np.random.default_rng(0).permutation(100)[:count]
    for rows in (chosen, slice(5, 5 + count)):
        shares = halves(rows, parts)
        np.testing.assert_array_equal(
            np.concatenate([everything[share] for share in shares] or [everything[:0]]),
            everything[rows],
        )
        sizes = [len(everything[share]) for share in shares]
        assert len(sizes) == min(parts, count)
        assert sizes == sorted(sizes, reverse=True)
        assert max(sizes, default=0) - min(sizes, default=0) <= 1


# --- Loader ---


def loader_of(
    images: Images,
    *,
    normalizer: FittedNormalizer = SCALE,
    block: int = 64,
    distort: Distort | None = None,
) -> Loader:
    """A loader of rows whose label is their number, so that one can see who comes when."""
    labels = np.arange(len(images))
    return Loader(images, labels, normalizer, dtype=np.float32, block=block, distort=distort)


def test_inputs_belong_to_their_labels() -> None:
    images, _ = toy_digits(200)
    loader, order = loader_of(images), order_of(200, 30)
    for step in range(1, 15):
        for x, labels in loader.blocks(order.batch(step)):
            assert x.dtype == np.float32
            np.testing.assert_array_equal(x, SCALE.transform(images[labels]))


@pytest.mark.parametrize(
    "rows", [np.arange(300)[::-1].copy(), slice(150, 450)], ids=["some", "run"]
)
def test_a_large_share_comes_in_blocks(rows: Rows | slice) -> None:
    images, _ = toy_digits(500)
    seen: list[int] = []
    sizes = []
    for x, labels in loader_of(images).blocks(rows):
        np.testing.assert_array_equal(x, SCALE.transform(images[labels]))
        seen += labels.tolist()
        sizes.append(len(labels))
    assert sizes == [64, 64, 64, 64, 44]
    assert seen == np.arange(500)[rows].tolist()


def test_no_rows_are_no_blocks() -> None:
    loader = loader_of(toy_digits(5)[0])
    assert list(loader.blocks(slice(2, 2))) == []
    assert list(loader.blocks(np.array([], np.intp))) == []


def to_the_right(raw: Images, out: Images) -> Images:
    out[...] = np.roll(raw, 1, axis=1)
    return out


@pytest.mark.parametrize("rows", [np.arange(60), slice(0, 60)], ids=["some", "run"])
def test_distorted_images_are_what_the_network_sees_and_what_is_lit(rows: Rows | slice) -> None:
    images = np.zeros((60, PIXELS), np.uint8)
    images[:, 3] = 100
    loader = loader_of(images, block=25, distort=to_the_right)
    assert loader.notes_lit
    for x, _ in loader.blocks(rows):
        assert (x[:, 4] > 0).all()
        assert np.count_nonzero(x) == len(x)
    assert list(np.flatnonzero(loader.lit)) == [4]
    assert images[:, 3].all()  # the rows themselves stay as they are


def test_lit_is_not_kept_where_the_images_say_it() -> None:
    images, _ = toy_digits(50)
    for name in ("scale", "standardize"):
        normalizer = FittedNormalizer.fit(name, {}, [images])
        assert not loader_of(images, normalizer=normalizer).notes_lit


def test_lit_is_only_of_the_rows_that_came() -> None:
    images = np.eye(PIXELS, dtype=np.uint8)  # row i lights pixel i
    loader = loader_of(images, distort=to_the_right)
    for rows in (np.array([2, 9]), np.array([63, 30])):
        for _ in loader.blocks(rows):
            pass
    assert set(np.flatnonzero(loader.lit)) == {3, 10, 0, 31}
