from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_digits import toy_digits

from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.model.normalize import FittedNormalizer, Normalizer, Scale, Standardize

IMAGES, _ = toy_digits(300)


def test_scale_maps_pixels_to_the_unit_interval() -> None:
    scale = Scale()
    every_value = np.arange(256, dtype=np.uint8).reshape(1, 256)
    x = scale.transform(scale.fit([every_value]), every_value)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x[0], np.arange(256) / 255, rtol=1e-7)
    assert x[0, 0] == 0.0
    assert x[0, 255] == 1.0


def test_standardize_gives_mean_0_and_deviation_1() -> None:
    standardize = Standardize()
    state = standardize.fit([IMAGES])
    assert state["mean"] == pytest.approx(IMAGES.mean(dtype=np.float64), rel=1e-14)
    assert state["std"] == pytest.approx(IMAGES.std(dtype=np.float64), rel=1e-12)
    x = standardize.transform(state, IMAGES)
    assert abs(x.mean(dtype=np.float64)) < 1e-6
    assert x.std(dtype=np.float64) == pytest.approx(1, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 300), max_size=6))
def test_the_fit_does_not_depend_on_how_rows_are_blocked(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(IMAGES)]
    blocks = [IMAGES[a:b] for a, b in itertools.pairwise(edges)]
    assert Standardize().fit(iter(blocks)) == Standardize().fit([IMAGES])
    assert Scale().fit(iter(blocks)) == Scale().fit([IMAGES])


def test_a_constant_data_set_stays_finite() -> None:
    grey = np.full((5, 4), 7, np.uint8)
    standardize = Standardize()
    state = standardize.fit([grey])
    assert state["std"] == 1.0
    np.testing.assert_array_equal(standardize.transform(state, grey), 0)


@pytest.mark.parametrize("normalizer", [Scale(), Standardize()])
def test_without_rows_there_is_nothing_to_fit(normalizer: Normalizer) -> None:
    for blocks in ([], [np.empty((0, 64), np.uint8)]):
        with pytest.raises(DataError, match="no training rows"):
            normalizer.fit(blocks)


@pytest.mark.parametrize("name", ["scale", "standardize"])
def test_affine_says_the_same_as_transform(name: str) -> None:
    fitted = FittedNormalizer.fit(name, {}, [IMAGES])
    affine = fitted.affine()
    assert affine is not None
    scale, shift = affine
    assert scale.shape == shift.shape == (64,)
    assert scale.dtype == shift.dtype == np.float64
    np.testing.assert_allclose(fitted.transform(IMAGES), scale * IMAGES + shift, atol=1e-6)


@pytest.mark.parametrize("name", ["scale", "standardize"])
def test_transform_writes_into_out_and_leaves_the_images_alone(name: str) -> None:
    fitted = FittedNormalizer.fit(name, {}, [IMAGES])
    images = IMAGES.copy()
    images.flags.writeable = False
    out = np.empty(images.shape, np.float32)
    assert fitted.transform(images, out) is out
    np.testing.assert_array_equal(out, fitted.transform(images))


@pytest.mark.parametrize("name", ["scale", "standardize"])
def test_a_fitted_normalizer_survives_json_exactly(name: str) -> None:
    fitted = FittedNormalizer.fit(name, {}, [IMAGES])
    assert fitted.name == f"{name}.v1"
    again = FittedNormalizer.from_json(json.loads(json.dumps(fitted.to_json())))
    assert again == fitted
    np.testing.assert_array_equal(again.transform(IMAGES), fitted.transform(IMAGES))


def test_an_unknown_normalizer_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        FittedNormalizer.fit("standardise", {}, [IMAGES])
    assert "standardize" in caught.value.remedy
