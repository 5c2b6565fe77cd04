"""Bundles: bit for bit what was trained, and refused at the slightest difference."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from store_samples import images_of, make_bundle, publish_bundle

from mnist_pipeline.errors import ConfigError, IntegrityError
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.store.bundles import (
    BUNDLE_FILES,
    GOLDEN_ROWS,
    bundle_files,
    bundle_from,
    check_golden,
    golden_file,
    read_bundle,
)
from mnist_pipeline.store.objects import Store


def bits(bundle: Bundle) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    parameters = bundle.parameters
    return {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in sorted(parameters.items())}


# --- files ---


def test_a_bundle_comes_back_bit_for_bit() -> None:
    bundle = make_bundle()
    odd = [-0.0, 1e-45, np.inf, np.float32(1 / 3)]
    bundle.parameters["b1"][:4] = odd
    files = bundle_files(bundle)
    assert tuple(files) == BUNDLE_FILES
    again = bundle_from(files)
    assert bits(again) == bits(bundle)
    assert again.contract == bundle.contract
    assert again.normalizer == bundle.normalizer
    assert (again.model, again.spec) == (bundle.model, bundle.spec)
    assert bundle_files(again) == files


def test_it_answers_bit_for_bit_too(store: Store) -> None:
    bundle = make_bundle()
    again = read_bundle(store, publish_bundle(store, bundle))
    images = images_of(1500)
    expected, found = bundle.predict(images), again.predict(images)
    assert np.array_equal(found.probabilities, expected.probabilities)
    assert np.array_equal(found.labels, expected.labels)


def test_the_layout_of_weights_in_memory_does_not_matter() -> None:
    bundle = make_bundle()
    turned = {name: np.asfortranarray(array) for name, array in bundle.parameters.items()}
    strided = {name: np.repeat(array, 2, axis=0)[::2] for name, array in turned.items()}
    for parameters in (turned, strided, dict(reversed(bundle.parameters.items()))):
        other = dataclasses.replace(bundle, parameters=parameters)
        assert bundle_files(other) == bundle_files(bundle)


def test_the_same_bundle_gives_the_same_bytes_in_another_process() -> None:
    program = f"""
import hashlib, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from store_samples import bundle_files, golden_file, images_of, make_bundle, np
files = bundle_files(make_bundle())
files["golden"] = golden_file(make_bundle(), images_of(5), np.zeros(5, np.uint8))
for data in files.values(): print(hashlib.sha256(data).hexdigest())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    files = bundle_files(make_bundle())
    files["golden"] = golden_file(make_bundle(), images_of(5), np.zeros(5, np.uint8))
    assert done.stdout.split() == [hashlib.sha256(data).hexdigest() for data in files.values()]


def test_weights_carry_no_metadata() -> None:
    data = bundle_files(make_bundle())["model.safetensors"]
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert "__metadata__" not in header
    assert set(header) == {"W1", "b1", "W2", "b2"}


def changed(file: str, /, **changes: Any) -> dict[str, bytes]:
    """The files of a bundle, some keys of a JSON file changed."""
    files = bundle_files(make_bundle())
    files[file] = json.dumps(json.loads(files[file]) | changes).encode()
    return files


@pytest.mark.parametrize("name", BUNDLE_FILES)
def test_a_bundle_that_lacks_a_file_is_damaged(name: str) -> None:
    files = bundle_files(make_bundle())
    del files[name]
    with pytest.raises(IntegrityError, match="bundle is damaged"):
        bundle_from(files)


@pytest.mark.parametrize("name", BUNDLE_FILES)
@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff\xfe\xfd", b'{"a"'])
def test_a_file_that_cannot_be_read_is_damaged(name: str, data: bytes) -> None:
    with pytest.raises(IntegrityError, match="bundle is damaged") as caught:
        bundle_from({**bundle_files(make_bundle()), name: data})
    assert caught.value.facts["cause"]


def test_a_format_of_the_future_is_refused() -> None:
    with pytest.raises(IntegrityError) as caught:
        bundle_from(changed("model.json", format=2))
    assert "format 2" in caught.value.facts["cause"]


def test_a_plugin_that_is_not_installed_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no model called 'quantum\.v1'"):
        bundle_from(changed("model.json", model="quantum.v1"))
    with pytest.raises(ConfigError, match="no normalizer called 'fourier'"):
        bundle_from(changed("normalizer.json", name="fourier"))


def test_an_option_the_plugin_no_longer_has_is_named() -> None:
    with pytest.raises(ConfigError, match="no option 'widht'"):
        bundle_from(changed("model.json", spec={"widht": 3}))


# --- the golden batch ---


def test_a_bundle_stands_by_its_golden_batch() -> None:
    bundle = make_bundle()
    golden = golden_file(bundle, images_of(40), np.zeros(40, np.uint8))
    check_golden(bundle, golden)
    check_golden(bundle_from(bundle_files(bundle)), golden)


@pytest.mark.parametrize("rows", [1, GOLDEN_ROWS, GOLDEN_ROWS + 8])
def test_the_golden_batch_has_at_most_its_rows(rows: int) -> None:
    data = golden_file(make_bundle(), images_of(rows), np.zeros(rows, np.uint8))
    table = pq.read_table(io.BytesIO(data))
    assert len(table) == min(rows, GOLDEN_ROWS)
    assert table["image"].to_pylist() == [bytes(image) for image in images_of(rows)[:GOLDEN_ROWS]]
    check_golden(make_bundle(), data)


@pytest.mark.parametrize("change", ["other weights", "a nudge", "not a number", "fewer classes"])
def test_other_answers_than_the_golden_ones_are_refused(change: str) -> None:
    bundle = make_bundle()
    golden = golden_file(bundle, images_of(40), np.zeros(40, np.uint8))
    parameters = {name: array.copy() for name, array in bundle.parameters.items()}
    if change == "other weights":
        parameters = make_bundle(seed=2).parameters
    elif change == "a nudge":
        parameters["b2"][0] += 1e-3  # no label changes, but probabilities do
    elif change == "not a number":
        parameters["b2"][0] = np.nan
    else:
        parameters["W2"], parameters["b2"] = parameters["W2"][:2], parameters["b2"][:2]
    with pytest.raises(IntegrityError, match="golden batch"):
        check_golden(dataclasses.replace(bundle, parameters=parameters), golden)


def test_a_difference_in_the_last_bits_is_allowed() -> None:
    bundle = make_bundle()
    golden = golden_file(bundle, images_of(40), np.zeros(40, np.uint8))
    parameters = {name: array * np.float32(1 + 1e-7) for name, array in bundle.parameters.items()}
    check_golden(dataclasses.replace(bundle, parameters=parameters), golden)


def test_an_empty_golden_batch_proves_nothing() -> None:
    bundle = make_bundle()
    golden = golden_file(bundle, images_of(0), np.zeros(0, np.uint8))
    with pytest.raises(IntegrityError, match="golden batch"):
        check_golden(bundle, golden)
