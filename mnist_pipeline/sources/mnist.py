"""MNIST as it was published: four IDX files, found or downloaded, and always verified."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mnist_pipeline.contract.records import PartInput, Records, unreadable
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import DataError
from mnist_pipeline.plugins import option
from mnist_pipeline.reporting import Step, listener
from mnist_pipeline.sources.download import Wanted, fault, fetch
from mnist_pipeline.sources.files import path_of
from mnist_pipeline.sources.idx import IdxPart

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)

TRAIN = (
    Wanted(
        "train-images-idx3-ubyte.gz",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        16 + 60_000 * 28 * 28,
    ),
    Wanted(
        "train-labels-idx1-ubyte.gz",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        8 + 60_000,
    ),
)
EXAM = (
    Wanted(
        "t10k-images-idx3-ubyte.gz",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        16 + 10_000 * 28 * 28,
    ),
    Wanted(
        "t10k-labels-idx1-ubyte.gz",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        8 + 10_000,
    ),
)

_WAYS_ON = (
    "set MNIST_DATA_DIR to a folder with MNIST's four files, "
    "or use --source synthetic, which needs no data, or --source idx:DIR with files of your own"
)


@dataclasses.dataclass(frozen=True)
class MnistPart(IdxPart):
    """A pair of MNIST's files, verified before anything of them is believed.

    Not when they are looked up: what is known not to have changed since is not read every night.
    """

    wanted: tuple[Wanted, ...] = ()

    def identity(self) -> str:
        self._verify()
        return super().identity()

    def read(self, contract: ImageContract) -> Iterator[Records]:
        self._verify()
        return super().read(contract)

    def _verify(self) -> None:
        for path, wanted in zip(self.paths, self.wanted, strict=True):
            if wrong := _fault(path, wanted):
                raise DataError(
                    f"{path.name} is not the file that MNIST calls so",
                    file=str(path),
                    expected=f"sha256 {wanted.sha256} of {wanted.size} bytes, uncompressed",
                    found=wrong,
                    remedy="put the original there, or use --source idx:DIR to train on other "
                    "files",
                )


@dataclasses.dataclass(frozen=True)
class Mnist:
    """MNIST's 60,000 training images, and its 10,000 test images as the exam.

    A folder that is named (`dir`, or MNIST_DATA_DIR) must hold all four files: plain or gzipped,
    `train-images-idx3-ubyte` or `train-images.idx3-ubyte`. Without one they are looked for in the
    folder of downloads, and downloaded to it if they are not there. The pipeline passes `cache`,
    `downloads/mnist` in its workspace, where the user gives none.
    """

    dir: str = option(
        "", "the folder with the four files; default: MNIST_DATA_DIR, else downloads", locates=True
    )
    cache: str = option(
        "",
        "the folder for downloads; default: MNIST_PIPELINE_CACHE, else the user's cache folder",
        locates=True,
    )
    mirrors: str = option(
        "",
        "addresses to download from, with commas; default: MNIST_PIPELINE_MIRRORS, else public",
        locates=True,
    )

    def parts(self) -> list[PartInput]:
        named = self.dir or os.environ.get("MNIST_DATA_DIR", "")
        wanted = (*TRAIN, *EXAM)
        if named:
            found = look_up(path_of(named), wanted)
        else:
            found = have(wanted, self.downloads(), self._mirrors())
        return [
            MnistPart(found[0].name, "train", found[0], found[1], wanted=TRAIN),
            MnistPart(found[2].name, "exam", found[2], found[3], wanted=EXAM),
        ]

    def downloads(self) -> Path:
        """The folder into which missing files are downloaded."""
        named = self.cache or os.environ.get("MNIST_PIPELINE_CACHE", "")
        if named:
            return path_of(named)
        home = os.environ.get("XDG_CACHE_HOME", "")
        return (Path(home) if home else Path.home() / ".cache") / "mnist-pipeline"

    def _mirrors(self) -> Sequence[str]:
        named = self.mirrors or os.environ.get("MNIST_PIPELINE_MIRRORS", "")
        return [mirror.strip() for mirror in named.split(",") if mirror.strip()] or MIRRORS


def test_part(downloads: Path | None) -> IdxPart | None:
    """MNIST's 10,000 test images if they are at hand, verified; nothing is downloaded.

    Args:
        downloads: a folder of downloads to look into beside MNIST_DATA_DIR and the user's cache.
    """
    named = os.environ.get("MNIST_DATA_DIR", "")
    folders = [path_of(named)] if named else [downloads, Mnist().downloads()]
    for folder in folders:
        if folder is None:
            continue
        there = [[p for p in _spellings(folder, w) if p.is_file()] for w in EXAM]
        with contextlib.suppress(OSError):  # what cannot be read is not at hand
            if all(there) and not any(fault(p[0], w) for p, w in zip(there, EXAM, strict=True)):
                (images, *_), (labels, *_) = there
                return IdxPart(images.name, "exam", images, labels)
    return None


def look_up(folder: Path, wanted: Sequence[Wanted]) -> list[Path]:
    """The wanted files in a folder that somebody named, not verified yet.

    Raises:
        DataError: one is missing.
    """
    found = [next((path for path in _spellings(folder, w) if path.exists()), None) for w in wanted]
    missing = [w.name for w, path in zip(wanted, found, strict=True) if path is None]
    if missing:
        raise DataError(
            f"{folder.name or folder} does not hold {len(missing)} of {len(wanted)} MNIST files",
            folder=str(folder),
            missing=", ".join(missing),
            remedy="put them there, plain or gzipped, or name no folder to have them downloaded",
        )
    return [path for path in found if path is not None]


def have(
    wanted: Sequence[Wanted],
    folder: Path,
    mirrors: Sequence[str],
) -> list[Path]:
    """The wanted files in the folder of downloads, verified; what is missing there is fetched.

    Raises:
        DataError: a file there cannot be read.
        OutsideError: no mirror gave a file, or the folder cannot be written.
    """
    paths = []
    for w in wanted:
        there = (path for path in _spellings(folder, w) if path.exists())
        right = next((path for path in there if _fault(path, w) is None), None)
        paths.append(right or fetch(w, folder, mirrors, remedy=_WAYS_ON, progress=_tell))
    return paths


def _tell(name: str, done: int, total: int | None) -> None:
    """The progress of a download, told to whoever listens to the run."""
    listener().step(Step(done, total or 0, "bytes", f"downloading {name}"))


def _fault(path: Path, wanted: Wanted) -> str | None:
    try:
        stat = path.stat()
        return _fault_as_of(path, wanted, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise unreadable(path, error) from None


@functools.lru_cache(maxsize=8)
def _fault_as_of(path: Path, wanted: Wanted, size: int, modified: int) -> str | None:
    """Reads a file once a process as long as it does not change."""
    del size, modified
    return fault(path, wanted)


def _spellings(folder: Path, wanted: Wanted) -> list[Path]:
    """The names under which people keep the file: plain or gzipped, `-idx3-` or `.idx3-`."""
    plain = wanted.name.removesuffix(".gz")
    dotted = plain.replace("-idx", ".idx")
    return [folder / f"{name}{end}" for name in (plain, dotted) for end in ("", ".gz")]
