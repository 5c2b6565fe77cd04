"""Nights that must not be learned from: what lies in the landing, and what has to be said of it."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont
from small import write_idx

from mnist_pipeline.data.parquet import bytes_column

Rows = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Night:
    """What a poisoner has at hand; all images (N, 784) uint8, all labels (N,) uint8.

    Attributes:
        landing: where files land; `yesterday.parquet` lies there already and is known.
        other: a folder for data that comes another way.
        new: clean rows that nobody has seen.
        yesterday: the rows of yesterday.parquet.
        exam: rows of the exam.
    """

    landing: Path
    other: Path
    new: Rows
    yesterday: Rows
    exam: Rows

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(7)

    def land(self, images: np.ndarray, labels: np.ndarray, name: str = "new.parquet") -> None:
        write_parquet(self.landing / name, images, labels)


def write_parquet(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    column = bytes_column(np.ascontiguousarray(images))
    pq.write_table(pa.table({"label": labels.astype(np.int64), "image": column}), path)


def csv_lines(images: np.ndarray, labels: np.ndarray) -> list[str]:
    header = "label," + ",".join(f"pixel{k}" for k in range(images.shape[1]))
    return [header, *map(",".join, np.column_stack([labels, images]).astype(str))]


Poisoner = Callable[[Night], None]


@dataclasses.dataclass(frozen=True)
class Poison:
    """A poisoned night.

    Attributes:
        make: puts it there.
        codes: what the reasons have to say, one of them at least.
        names: what that reason has to name.
        status: how the night ends.
        sources: further sources beside the landing, of files in `Night.other`.
    """

    make: Poisoner
    codes: tuple[str, ...]
    names: str = "new.parquet"
    status: str = "held"
    sources: tuple[str, ...] = ()


def shuffled(share: float) -> Poisoner:
    def make(night: Night) -> None:
        images, labels = night.new
        labels = labels.copy()
        chosen = night.rng.choice(len(labels), round(share * len(labels)), replace=False)
        labels[chosen] = night.rng.permutation(labels[chosen])
        night.land(images, labels)

    return make


def labels_by(change: Callable[[np.ndarray], np.ndarray]) -> Poisoner:
    return lambda night: night.land(night.new[0], change(night.new[1]))


def images_by(change: Callable[[np.ndarray], np.ndarray]) -> Poisoner:
    """`change` is given the images as (N, 28, 28)."""
    return lambda night: night.land(
        change(night.new[0].reshape(-1, 28, 28)).reshape(-1, 784), night.new[1]
    )


def swapped(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == 4, 9, np.where(labels == 9, 4, labels))


def half_blank(night: Night) -> None:
    images = night.new[0].copy()
    images[::2] = 0
    night.land(images, night.new[1])


def another_alphabet(night: Night) -> None:
    rng, font = night.rng, ImageFont.load_default(24)
    images = []
    for label in night.new[1]:
        picture = Image.new("L", (28, 28))
        x, y = 14 + rng.integers(-1, 2, 2)
        ImageDraw.Draw(picture).text((x, y), "ABCDEFGHJK"[label], 255, font, "mm")
        images.append(np.asarray(picture.rotate(rng.uniform(-12, 12))).ravel())
    night.land(np.array(images), night.new[1])


def noise(night: Night) -> None:
    images = night.rng.integers(0, 256, night.new[0].shape, dtype=np.uint8)
    night.land(images, night.new[1])


def train_and_exam_inverted(night: Night) -> None:
    images, labels = night.new
    write_idx(night.other, "train", 255 - images[:700], labels[:700])
    write_idx(night.other, "t10k", 255 - images[700:], labels[700:])


def one_class_missing(night: Night) -> None:
    keep = night.new[1] != 7
    night.land(night.new[0][keep], night.new[1][keep])


def yesterday_again(night: Night) -> None:
    """The same rows in another order: other bytes, under another name."""
    order = night.rng.permutation(len(night.yesterday[1]))
    night.land(night.yesterday[0][order], night.yesterday[1][order])


def yesterday_relabelled(night: Night) -> None:
    night.land(night.yesterday[0], (night.yesterday[1] + 1) % 10)


def a_copy(night: Night) -> None:
    copy = night.landing / "another-name.parquet"
    copy.write_bytes((night.landing / "yesterday.parquet").read_bytes())


def every_row_thrice(night: Night) -> None:
    third = len(night.new[1]) // 3
    night.land(*(np.tile(column[:third].T, 3).T for column in night.new))


def small_files(night: Night) -> None:
    """Too few rows in each to be sure of anything."""
    labels = night.new[1].copy()
    labels[::6] = (labels[::6] + 3) % 10
    for k in range(0, len(labels), 50):
        night.land(night.new[0][k : k + 50], labels[k : k + 50], f"small-{k:04}.parquet")


def among_clean_ones(night: Night) -> None:
    """One bad file of ten."""
    for k, part in enumerate(np.array_split(np.arange(len(night.new[1])), 10)):
        labels = night.new[1][part]
        night.land(night.new[0][part], (labels + (k == 4)) % 10, f"part-{k}.parquet")


def empty(night: Night) -> None:
    (night.landing / "new.csv").touch()


def no_rows(night: Night) -> None:
    night.land(night.new[0][:0], night.new[1][:0])


def truncated(night: Night) -> None:
    night.land(*night.new)
    whole = (night.landing / "new.parquet").read_bytes()
    (night.landing / "new.parquet").write_bytes(whole[: len(whole) // 2])


def truncated_gzip(night: Night) -> None:
    whole = gzip.compress("\n".join(csv_lines(*night.new)).encode(), 1)
    (night.landing / "new.csv.gz").write_bytes(whole[: len(whole) // 2])


def wrong_size(night: Night) -> None:
    night.land(night.new[0][:, :729], night.new[1])


def not_what_it_is_called(night: Night) -> None:
    (night.landing / "new.csv").write_bytes(b"%PDF-1.7\n" + night.rng.bytes(20_000))


def many_bad_rows(night: Night) -> None:
    lines = csv_lines(*night.new)
    lines[5::20] = ["5,what is this"] * len(lines[5::20])
    (night.landing / "new.csv").write_text("\n".join(lines))


LABELS, DRIFT = "label_disagreement", "drift"
BAD = {"codes": ("bad_file",), "status": "unchanged"}

POISONS: dict[str, Poison] = {
    "5 % of labels shuffled": Poison(shuffled(0.05), (LABELS,)),
    "10 % of labels shuffled": Poison(shuffled(0.1), (LABELS,)),
    "50 % of labels shuffled": Poison(shuffled(0.5), (LABELS,)),
    "one class relabelled": Poison(labels_by(lambda y: np.where(y == 3, 5, y)), (LABELS,)),
    "two classes swapped": Poison(labels_by(swapped), (LABELS,)),
    "labels one row off": Poison(labels_by(lambda y: np.roll(y, 1)), (LABELS,)),
    "labels one higher": Poison(labels_by(lambda y: (y + 1) % 10), (LABELS,)),
    "all labels the same": Poison(labels_by(lambda y: np.full_like(y, 3)), (LABELS,)),
    "inverted images": Poison(images_by(lambda x: 255 - x), (DRIFT,)),
    "shifted images": Poison(images_by(lambda x: np.roll(x, (3, 4), (1, 2))), (LABELS,)),
    "transposed images": Poison(images_by(lambda x: x.transpose(0, 2, 1)), (LABELS,)),
    "mirrored images": Poison(images_by(lambda x: x[:, :, ::-1]), (LABELS,)),
    "a faint scanner": Poison(images_by(lambda x: x // 4), (DRIFT,)),
    "half of the images blank": Poison(half_blank, ("rejects",)),  # one image, ten labels
    "half of each image blank": Poison(images_by(lambda x: x * (np.arange(28) < 14)), (LABELS,)),
    "another alphabet": Poison(another_alphabet, (LABELS,)),
    "noise": Poison(noise, (DRIFT,)),
    "train and exam both inverted": Poison(
        train_and_exam_inverted, ("exam_changed",), "test rows", sources=("idx:{other}",)
    ),
    "exam rows in training": Poison(lambda night: night.land(*night.exam), ("exam_overlap",)),
    "one class missing": Poison(one_class_missing, ("class_missing",)),
    "yesterday's file in another order": Poison(yesterday_again, ("known_rows",)),
    "yesterday's images relabelled": Poison(yesterday_relabelled, ("rejects",)),
    "every row three times": Poison(every_row_thrice, ("known_rows",)),
    "many small files": Poison(small_files, (LABELS,), "small-0000.parquet"),
    "one bad file among clean ones": Poison(among_clean_ones, (LABELS,), "part-4.parquet"),
    "yesterday's file again": Poison(
        a_copy, ("duplicate_file",), "another-name.parquet", "unchanged"
    ),
    "an empty file": Poison(empty, names="new.csv", **BAD),
    "a file without rows": Poison(no_rows, **BAD),
    "a truncated file": Poison(truncated, **BAD),
    "a truncated gzip file": Poison(truncated_gzip, names="new.csv.gz", **BAD),
    "images of a wrong size": Poison(wrong_size, **BAD),
    "not what it is called": Poison(not_what_it_is_called, names="new.csv", **BAD),
    "many bad rows": Poison(many_bad_rows, names="new.csv", **BAD),
}
