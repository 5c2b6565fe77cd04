"""The profile: exactly what its definitions say, whatever the order and the blocks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.profile import INK_BINS, Profile, Profiler

CONTRACT = ImageContract()
SMALL = ImageContract(3, 5, ("a", "b", "c"))


def profile_of(
    images: np.ndarray, labels: np.ndarray, contract: ImageContract = CONTRACT, block: int = 10**6
) -> Profile:
    profiler = Profiler(contract)
    for start in range(0, len(images), block):
        profiler.add(images[start : start + block], labels[start : start + block])
    return profiler.profile()


def test_every_number_is_what_it_says(digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = digits
    profile = profile_of(images, labels, block=257)
    assert profile.n == len(images)
    assert profile.class_counts.tolist() == np.bincount(labels).tolist()
    assert profile.pixels.tolist() == np.bincount(images.ravel(), minlength=256).tolist()
    assert (profile.lit == (images > 0).any(axis=0)).all()
    ink = images.mean(axis=1) / 255
    edges = np.linspace(0, 1, INK_BINS + 1)
    for label in range(10):
        own = images[labels == label]
        assert np.abs(profile.mean_images[label] - own.mean(axis=0)).max() <= 0.5 + 1e-9
        assert profile.ink[label].tolist() == np.histogram(ink[labels == label], edges)[0].tolist()

    pictures = images.reshape(-1, 28, 28).astype(float)
    mass = pictures.sum(axis=(1, 2))
    rows = (pictures.sum(axis=2) @ np.arange(28)) / mass
    columns = (pictures.sum(axis=1) @ np.arange(28)) / mass
    assert profile.centre == pytest.approx((rows.mean(), columns.mean()), abs=0.01)
    assert profile.spread == pytest.approx((rows.std(), columns.std()), abs=0.01)


@given(st.integers(1, 60), st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_neither_order_nor_blocks_change_a_byte(rows: int, seed: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (rows, SMALL.pixels), np.uint8) * rng.integers(0, 2, (rows, 1))
    images = images.astype(np.uint8)
    labels = rng.integers(0, 3, rows).astype(np.uint8)
    order = rng.permutation(rows)
    one = profile_of(images, labels, SMALL).to_bytes()
    assert profile_of(images[order], labels[order], SMALL, block).to_bytes() == one


def test_more_rows_than_a_block_are_counted_once() -> None:
    images = np.full((2500, SMALL.pixels), 255, np.uint8)
    labels = (np.arange(2500) % 3).astype(np.uint8)
    profile = profile_of(images, labels, SMALL)
    assert profile.class_counts.tolist() == [834, 833, 833]
    assert (profile.mean_images == 255).all()
    assert (profile.centre, profile.spread) == ((1, 2), (0, 0))
    assert profile.ink_quantile(1.0) == 1.0


def test_images_too_large_for_exact_float32_are_summed_exactly_too() -> None:
    contract = ImageContract(96, 200, ("a",))
    images = np.full((2, contract.pixels), 255, np.uint8)
    images[1, -1] = 254
    profile = profile_of(images, np.zeros(2, np.uint8), contract)
    assert profile.centre == (47.5, 99.5)
    assert profile.spread == (0, 0)


def test_a_profile_comes_back_as_it_was(digits: tuple[np.ndarray, np.ndarray]) -> None:
    profile = profile_of(*digits)
    data = profile.to_bytes()
    again = Profile.from_bytes(data)
    assert again.to_bytes() == data
    for name in ("ink", "pixels", "mean_images", "lit"):
        assert np.array_equal(getattr(again, name), getattr(profile, name))
        assert getattr(again, name).dtype == getattr(profile, name).dtype
    assert again.classes == profile.classes
    assert (again.centre, again.spread) == (profile.centre, profile.spread)
    assert len(data) < 25_000


def test_a_profile_of_many_classes_stays_small() -> None:
    contract = ImageContract(classes=tuple(f"class {i}" for i in range(62)))
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (6200, 784), np.uint8)
    labels = (np.arange(6200) % 62).astype(np.uint8)
    assert len(profile_of(images, labels, contract).to_bytes()) < 100_000


@pytest.mark.parametrize("share", [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0])
def test_quantiles_of_ink_are_right_to_a_bin(
    digits: tuple[np.ndarray, np.ndarray], share: float
) -> None:
    images, labels = digits
    profile, ink = profile_of(images, labels), images.mean(axis=1) / 255
    assert profile.ink_quantile(share) == pytest.approx(np.quantile(ink, share), abs=1 / INK_BINS)
    own = np.quantile(ink[labels == 1], share)
    assert profile.ink_quantile(share, 1) == pytest.approx(own, abs=1 / INK_BINS)


def test_blank_images_have_no_centre_and_no_rows_have_nothing() -> None:
    blank = profile_of(np.zeros((2, 15), np.uint8), np.array([0, 2], np.uint8), SMALL)
    assert (blank.n, blank.centre, blank.spread) == (2, (0, 0), (0, 0))
    assert not blank.lit.any()
    assert blank.ink_quantile(0.5, 1) is None
    nothing = Profiler(SMALL).profile()
    assert nothing.n == 0
    assert nothing.ink_quantile(0.5) is None
    assert Profile.from_bytes(nothing.to_bytes()).to_bytes() == nothing.to_bytes()


def test_a_format_of_the_future_is_refused() -> None:
    fields = json.loads(Profiler(SMALL).profile().to_bytes())
    with pytest.raises(ValueError, match="format 2"):
        Profile.from_bytes(json.dumps(fields | {"format": 2}).encode())
