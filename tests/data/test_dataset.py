"""Data sets: the index says which rows, and exactly those are read."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.dataset import Index, gather, read_images, read_labels, read_side
from mnist_pipeline.data.parquet import Rows, write_table
from mnist_pipeline.data.split import Side
from mnist_pipeline.errors import IntegrityError

steady = settings(deadline=None, derandomize=True, database=None)

SMALL = ImageContract(2, 2)


def random_index(count: int, seed: int = 0) -> Index:
    rng = np.random.default_rng(seed)
    return Index(
        part=np.sort(rng.integers(0, 3, count)).astype(np.int32),
        row_id=np.arange(count),
        label=rng.integers(0, 10, count).astype(np.uint8),
        digest=rng.integers(0, 256, (count, 16), np.uint8),
        side=rng.integers(0, len(Side), count).astype(np.uint8),
    )


def arrays(index: Index) -> list[tuple[str, tuple[int, ...], bytes]]:
    columns = (index.part, index.row_id, index.label, index.digest, index.side)
    return [(column.dtype.str, column.shape, column.tobytes()) for column in columns]


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_an_index_reads_back_bit_for_bit(tmp_path: Path, count: int) -> None:
    index = random_index(count)
    write_table(tmp_path / "index", index.to_table())
    again = Index.read(tmp_path / "index")
    assert arrays(again) == arrays(index)
    assert len(again) == count


def test_a_damaged_index_is_refused_or_harmless(tmp_path: Path) -> None:
    index = random_index(20)
    path = tmp_path / "index"
    write_table(path, index.to_table())
    data = path.read_bytes()
    refused = 0
    for at in range(len(data)):
        for mask in (0x02, 0x08) if at > len(data) // 2 else (0xFF,):
            path.write_bytes(data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :])
            try:
                assert arrays(Index.read(path)) == arrays(index)
            except IntegrityError:
                refused += 1
    assert refused > len(data) // 2


def test_another_table_is_no_index(tmp_path: Path) -> None:
    path = tmp_path / "index"
    write_table(path, random_index(3).to_table().drop_columns("side"))
    with pytest.raises(IntegrityError, match="damaged"):
        Index.read(path)


@steady
@given(st.lists(st.integers(0, 4), max_size=8))
def test_the_rows_of_each_part_are_found_empty_parts_too(counts: list[int]) -> None:
    part = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    index = dataclasses.replace(random_index(len(part)), part=part)
    places = index.by_part(len(counts))
    assert len(places) == len(counts)
    for number, (rows, count) in enumerate(zip(places, counts, strict=True)):
        assert index.part[rows].tolist() == [number] * count
    # Side by side and without a gap: together they are the whole index.
    assert [row for rows in places for row in index.row_id[rows]] == list(range(len(part)))


def test_without_parts_there_are_no_places() -> None:
    assert random_index(0).by_part(0) == []


@pytest.mark.parametrize("blocks", [[0], [4], [3, 0, 5]])
def test_labels_and_digests_are_read_without_pixels(
    tmp_path: Path, make_part: Any, blocks: list[int]
) -> None:
    written = make_part(tmp_path / "p", SMALL, blocks)
    labels, digests = read_labels(tmp_path / "p", SMALL)
    assert (labels.dtype, digests.dtype) == (np.uint8, np.uint8)
    assert np.array_equal(labels, np.concatenate([rows.labels for rows in written]))
    assert np.array_equal(digests, np.concatenate([rows.digests for rows in written]))


def test_parts_of_another_contract_are_refused(tmp_path: Path, make_part: Any) -> None:
    make_part(tmp_path / "p", SMALL, [4])
    other = ImageContract(2, 2, ("a", "b"))
    with pytest.raises(IntegrityError, match="another contract"):
        read_labels(tmp_path / "p", other)
    with pytest.raises(IntegrityError, match="another contract"):
        list(read_images(tmp_path / "p", other))


Parts = tuple[list[Path], list[list[Rows]]]


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory, make_part: Any) -> Parts:
    """Three parts of 9 + 0 + 14 rows in several blocks, and what was written into them."""
    folder = tmp_path_factory.mktemp("parts")
    paths, written = [], []
    for number, blocks in enumerate([[5, 4], [0], [1, 2, 11]]):
        paths.append(folder / f"{number}.parquet")
        written.append(make_part(paths[-1], SMALL, blocks, seed=number))
    return paths, written


def index_of(written: list[list[Rows]], sides: list[int]) -> Index:
    """The index of parts whose rows lie on these sides."""
    counts = [sum(len(rows.images) for rows in blocks) for blocks in written]
    labels = np.concatenate([rows.labels for blocks in written for rows in blocks])
    digests = np.concatenate([rows.digests for blocks in written for rows in blocks])
    return Index(
        part=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        row_id=np.concatenate([np.arange(count) for count in counts]),
        label=labels,
        digest=digests,
        side=np.array(sides, np.uint8),
    )


@steady
@given(st.lists(st.sampled_from(list(Side)), min_size=23, max_size=23))
def test_each_side_gives_exactly_its_rows_in_order(parts: Parts, sides: list[Side]) -> None:
    paths, written = parts
    images = np.concatenate([rows.images for blocks in written for rows in blocks])
    index = index_of(written, sides)
    for side in Side:
        chosen = np.array(sides) == side
        blocks = read_side(paths, index, side, SMALL)
        found, labels = gather(blocks, int(chosen.sum()), SMALL.pixels)
        assert np.array_equal(found, images[chosen])
        assert np.array_equal(labels, index.label[chosen])


@pytest.mark.parametrize("change", [-1, 1, -9])
def test_an_index_of_other_parts_is_refused(parts: Parts, change: int) -> None:
    # In silence it would train on too few rows, or on those of another side.
    paths, written = parts
    sides = [Side.TRAIN] * 23
    index = index_of(written, sides)
    rows = np.arange(23 + change) % 23
    other = Index(
        index.part[rows],
        index.row_id[rows],
        index.label[rows],
        index.digest[rows],
        index.side[rows],
    )
    with pytest.raises(IntegrityError, match="rows of its index") as caught:
        list(read_side(paths, other, Side.TRAIN, SMALL))
    assert (caught.value.facts["expected"], caught.value.facts["found"]) == (23 + change, 23)


def test_a_part_that_is_left_out_is_noticed(parts: Parts) -> None:
    paths, written = parts
    with pytest.raises(IntegrityError, match="rows of its index"):
        list(read_side(paths[:2], index_of(written, [Side.TRAIN] * 23), Side.TRAIN, SMALL))


def test_gathering_nothing_gives_empty_arrays() -> None:
    images, labels = gather(iter(()), 0, 4)
    assert (images.shape, labels.shape) == ((0, 4), (0,))
    assert images.dtype == labels.dtype == np.uint8


def test_gathered_blocks_are_copies_in_order(parts: Parts) -> None:
    paths, written = parts
    images, labels = gather(read_images(paths[0], SMALL), 9, 4)
    assert np.array_equal(images, np.concatenate([rows.images for rows in written[0]]))
    assert np.array_equal(labels, np.concatenate([rows.labels for rows in written[0]]))
    images[:] = 0  # they are ours to change
