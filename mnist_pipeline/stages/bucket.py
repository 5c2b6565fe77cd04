"""Sources in buckets: listed every night, fetched only when they are read.

Until it reads, a source goes by names alone. So it is built on a folder of empty files that have
the names of the objects, and that folder is gone before anybody could open one. What has to be read
is fetched into a folder of its own, where the same source is built again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import glob
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from mnist_pipeline.contract.records import PartInput, Records, Role, Source
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import ConfigError, DataError, PipelineError
from mnist_pipeline.refs import digest_of
from mnist_pipeline.store.inputs import FileStamp, UnsettledError
from mnist_pipeline.store.objects import (
    ObjectChangedError,
    ObjectInfo,
    ObjectMissingError,
    Store,
)
from mnist_pipeline.store.places import SCHEMES, check_url, is_url


def bucket_source(source: Source) -> BucketSource | None:
    """A source as one in a bucket, if it was given a URL; nothing is opened.

    Raises:
        ConfigError: the URL cannot be one, or this source cannot be in a bucket.
    """
    for field in dataclasses.fields(source):  # type: ignore[arg-type]  # plugins are dataclasses
        place = getattr(source, field.name)
        if not (field.metadata.get("locates") and isinstance(place, str) and is_url(place)):
            continue
        if field.metadata.get("bucket"):
            check_url(place, "source")
            return BucketSource(source, field.name, place)
        if place.partition("://")[0] in SCHEMES:
            raise ConfigError(
                f"this source takes no URL as its {field.name}",
                source=place,
                remedy="name a folder; csv, idx, parquet and png read from buckets",
            )
    return None


@dataclasses.dataclass(frozen=True)
class BucketSource:
    """A source whose place is a URL.

    Attributes:
        source: the source as it was built.
        option: which of its options names the place.
        url: the place: a folder, an object, or a pattern, as on disk.
    """

    source: Source
    option: str
    url: str

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0]

    @property
    def bucket(self) -> str:
        return self.url.partition("://")[2].partition("/")[0]

    @property
    def key(self) -> str:
        """What the URL says after the bucket."""
        return self.url.partition("://")[2].partition("/")[2].strip("/")

    def open(self) -> Store:
        """The bucket.

        Raises:
            OutsideError: it cannot be opened.
        """
        return Store.open(f"{self.scheme}://{self.bucket}", writable=False, called="source")

    def parts(self) -> list[BucketPart]:
        """What it consists of; nothing but a listing comes over the network.

        Raises:
            DataError: what it names is not there.
            OutsideError: the bucket cannot be listed.
        """
        store = self.open()
        objects = {f"{self.bucket}/{info.key}": info for info in self._listed(store)}
        with store.scratch() as folder, self.in_urls(folder):
            _lay_out(folder, [self.bucket, *(str(PurePosixPath(name).parent) for name in objects)])
            empty = folder / ".empty"  # no bucket is called like that
            empty.touch()
            for name in objects:
                with _as_file(name):
                    _stand_in(folder / name, empty)
            return [self._part(part, folder, objects) for part in self.parts_in(folder)]

    def parts_in(self, folder: Path) -> list[PartInput]:
        """What the same source consists of in a folder that has the bucket in it."""
        place = str(folder / self.bucket / self.key)
        return dataclasses.replace(self.source, **{self.option: place}).parts()  # type: ignore[type-var]

    @contextlib.contextmanager
    def in_urls(self, folder: Path) -> Iterator[None]:
        """Inside, errors name the objects, not the files in `folder` that stand for them."""
        try:
            yield
        except PipelineError as error:
            here, there = f"{folder}/", f"{self.scheme}://"
            error.headline = error.headline.replace(here, there)
            error.remedy = error.remedy.replace(here, there)
            for name, value in error.facts.items():
                if isinstance(value, str):
                    error.facts[name] = value.replace(here, there)
            raise

    def _part(self, part: PartInput, folder: Path, objects: dict[str, ObjectInfo]) -> BucketPart:
        names = names_of(part, folder)
        own = [_below(name, objects) for name in names]
        return BucketPart(
            name=part.name,
            role=part.role,
            names=names,
            objects=tuple(pair for each in own for pair in each.items()),
            stamps=tuple(_stamp(name, each) for name, each in zip(names, own, strict=True)),
            source=self,
        )

    def _listed(self, store: Store) -> Sequence[ObjectInfo]:
        """The objects among which the place finds its own, by name."""
        key = self.key
        if glob.has_magic(key):
            base = re.split(r"[*?\[]", key, maxsplit=1)[0].rpartition("/")[0]
            pattern = key.removeprefix(f"{base}/")
            found = store.list(base, deep="/" in pattern or "**" in pattern)
        else:
            found = [info for info in store.list(key) if info.key != key]
            if not found and store.exists(key):  # one object, and what may belong to it
                found = store.list(key.rpartition("/")[0], deep=False)
        folders = {str(folder) for info in found for folder in PurePosixPath(info.key).parents}
        for info in found:
            if info.key in folders and info.size:
                raise DataError(
                    f"{PurePosixPath(info.key).name} is an object and a folder at once",
                    file=f"{self.scheme}://{self.bucket}/{info.key}",
                    remedy="rename one of them",
                )
        # Consoles make folders by writing an empty object in their place.
        return [info for info in found if info.key not in folders]


@dataclasses.dataclass(frozen=True)
class BucketPart:
    """One input whose files are objects: a `PartInput` that fetches them when they are needed.

    Attributes:
        names: its files or folders, each as `bucket/key`.
        objects: all objects it is made of, by `bucket/key`, as they were listed.
        stamps: what shows that they have changed, for each of `names`.
        source: what it is a part of.
        folder: where its objects have been fetched to, or None.
        fetched: the part that the source makes of them there.
    """

    name: str
    role: Role
    names: tuple[str, ...]
    objects: tuple[tuple[str, ObjectInfo], ...]
    stamps: tuple[FileStamp, ...]
    source: BucketSource
    folder: Path | None = None
    fetched: PartInput | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """None: nothing of it is on this machine to stay."""
        return ()

    @property
    def urls(self) -> tuple[str, ...]:
        """Its files or folders."""
        return tuple(f"{self.source.scheme}://{name}" for name in self.names)

    @property
    def size(self) -> int:
        """Bytes of all its objects."""
        return sum(info.size for _, info in self.objects)

    def identity(self) -> str:
        with self._at_hand() as (part, folder), self.source.in_urls(folder):
            return part.identity()

    def read(self, contract: ImageContract) -> Iterator[Records]:
        with self._at_hand() as (part, folder), self.source.in_urls(folder):
            yield from part.read(contract)

    @contextlib.contextmanager
    def at_hand(self) -> Iterator[BucketPart]:
        """The same part, fetched once for all that is done with it inside.

        Raises:
            UnsettledError: an object is not what was listed.
            OutsideError: it cannot be fetched.
        """
        with self._at_hand() as (part, folder):
            yield dataclasses.replace(self, fetched=part, folder=folder)

    @contextlib.contextmanager
    def _at_hand(self) -> Iterator[tuple[PartInput, Path]]:
        if self.fetched is not None and self.folder is not None:
            yield self.fetched, self.folder
            return
        store = self.source.open()
        with store.scratch() as folder:
            _lay_out(folder, [str(PurePosixPath(name).parent) for name, _ in self.objects])
            for name, info in self.objects:
                self._fetch(store, name, info, folder)
            with self.source.in_urls(folder):
                parts = self.source.parts_in(folder)
            yield next(p for p in parts if names_of(p, folder) == self.names), folder

    def _fetch(self, store: Store, name: str, info: ObjectInfo, folder: Path) -> None:
        try:
            store.fetch(info, folder / name)
        except (ObjectChangedError, ObjectMissingError) as error:
            what = "was replaced" if isinstance(error, ObjectChangedError) else "went away"
            raise UnsettledError(
                f"{PurePosixPath(name).name} {what} after it was listed",
                file=f"{self.source.scheme}://{name}",
                remedy="let whoever writes it finish, and run it again",
            ) from None


def names_of(part: PartInput, folder: Path) -> tuple[str, ...]:
    """The files of a part relative to a folder."""
    return tuple(path.relative_to(folder).as_posix() for path in part.paths)


def _lay_out(folder: Path, names: Sequence[str]) -> None:
    for name in sorted(set(names)):
        with _as_file(name):
            (folder / name).mkdir(parents=True, exist_ok=True)


def _stand_in(path: Path, empty: Path) -> None:
    """Makes an empty file, as a link: on ext4 a new file was seen to cost thirty times as much."""
    try:
        path.hardlink_to(empty)
    except FileExistsError:
        raise
    except OSError:  # so many links to one file are too many, or the disk knows none
        path.touch(exist_ok=False)


@contextlib.contextmanager
def _as_file(name: str) -> Iterator[None]:
    """Explains why an object cannot have a file of its name here."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.EEXIST, errno.EINVAL):
            raise
        raise DataError(
            "an object has a name that no file can have here",
            name=name,
            cause=error.strerror,
            remedy="rename it, or name the others by a pattern",
        ) from None


def _below(name: str, objects: dict[str, ObjectInfo]) -> dict[str, ObjectInfo]:
    """The object of that name, or all in the folder of that name."""
    if name in objects:
        return {name: objects[name]}
    return {key: info for key, info in objects.items() if key.startswith(f"{name}/")}


def _stamp(name: str, objects: dict[str, ObjectInfo]) -> FileStamp:
    if name in objects:
        return objects[name].stamp
    size = sum(info.size for info in objects.values())
    return size, digest_of([[key, *info.stamp] for key, info in objects.items()])
