"""The contract: everything in it moves its fingerprint, nothing else does."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_pipeline.contract.spec import DIGITS, ImageContract

steady = settings(deadline=None, derandomize=True, database=None)


contracts = st.builds(
    ImageContract,
    st.integers(1, 100),
    st.integers(1, 100),
    st.lists(st.text(max_size=4), min_size=1, max_size=5).map(tuple),
    st.integers(1, 9),
)


def test_the_default_is_mnist() -> None:
    contract = ImageContract()
    assert (contract.height, contract.width, contract.pixels) == (28, 28, 784)
    assert contract.classes == DIGITS == tuple("0123456789")


def test_the_fingerprint_of_the_default_never_changes() -> None:
    # It stands in every file and bundle: another value would orphan every workspace there is.
    digits = '"0","1","2","3","4","5","6","7","8","9"'
    text = f'{{"classes":[{digits}],"dtype":"uint8","height":28,"version":1,"width":28}}'
    assert ImageContract().fingerprint == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        ImageContract(height=27),
        ImageContract(width=27),
        ImageContract(height=56, width=14),
        ImageContract(classes=DIGITS[:9]),
        ImageContract(classes=DIGITS[::-1]),
        ImageContract(version=2),
    ],
)
def test_every_part_moves_the_fingerprint(other: ImageContract) -> None:
    assert other.fingerprint != ImageContract().fingerprint
    assert other != ImageContract()


@steady
@given(contracts)
def test_a_contract_reads_back(contract: ImageContract) -> None:
    again = ImageContract.from_json(json.loads(json.dumps(contract.to_json())))
    assert again == contract
    assert again.fingerprint == contract.fingerprint


@steady
@given(contracts, contracts)
def test_equal_fingerprints_are_equal_contracts(one: ImageContract, other: ImageContract) -> None:
    assert (one.fingerprint == other.fingerprint) == (one == other)


def test_what_is_known_of_other_images_is_compared_field_by_field() -> None:
    contract = ImageContract()
    assert contract.differences({}) == {}
    assert contract.differences({"height": 28, "pixels": 784, "dtype": "uint8"}) == {}
    found = {"height": 28, "width": 32, "pixels": 896, "dtype": "float", "first": "pixel1"}
    assert contract.differences(found) == {
        "width": (32, 28),
        "pixels": (896, 784),
        "dtype": ("float", "uint8"),
        "first": ("pixel1", "pixel0"),
    }


def test_a_contract_cannot_be_changed_under_its_fingerprint() -> None:
    contract = ImageContract()
    with pytest.raises(dataclasses.FrozenInstanceError):
        contract.height = 5  # type: ignore[misc]
