"""Inputs: the Parquet files that were named, each with the path its answers will have."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import glob
import os
import re
import stat
from collections.abc import Container, Iterator, Sequence
from pathlib import Path, PurePath, PurePosixPath
from urllib.parse import unquote

from mnist_pipeline.contract.records import unreadable
from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.refs import sha256_of_file
from mnist_pipeline.score.outputs import MARKER
from mnist_pipeline.sources.files import path_of
from mnist_pipeline.store.objects import ObjectChangedError, ObjectMissingError, Store
from mnist_pipeline.store.places import is_url
from mnist_pipeline.store.remote import RemoteFile

SUFFIXES = (".parquet", ".parq", ".pq")
_HIDDEN = (".", "_")
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclasses.dataclass(frozen=True)
class InputFile:
    """One file to score.

    Attributes:
        root: the folder or URL it was found in.
        key: its path there.
        relative: its path below what the user named, with `/`: its answers have the same.
    """

    root: str
    key: str
    relative: str

    @property
    def partitions(self) -> tuple[tuple[str, str | None], ...]:
        """What its folders say of all its rows: `year=2024/` as ("year", "2024").

        Raises:
            DataError: two of them say it of one name.
        """
        pairs = []
        for folder in PurePosixPath(self.relative).parts[:-1]:
            name, equals, value = folder.partition("=")
            if equals and name:
                pairs.append((unquote(name), None if value == NULL_PARTITION else unquote(value)))
        names = [name for name, _ in pairs]
        if twice := [name for name in names if names.count(name) > 1]:
            raise DataError(
                f"two folders of {self.relative} give a value to {twice[0]!r}",
                file=self.relative,
                remedy="rename one of them",
            )
        return tuple(pairs)

    @contextlib.contextmanager
    def source(self, stamp: str | None = None) -> Iterator[Path | RemoteFile]:
        """What the file can be read from: its path, or what lies at its URL.

        Args:
            stamp: its `stamp_of` when it was looked at first; None for the first time.

        Raises:
            DataError: it is gone, or has changed.
        """
        if not is_url(self.root):
            path = Path(self.root) / self.key
            self._check(path, stamp)
            yield path
            return
        try:
            with _store_at(self.root).reader(self.key) as file:
                self._check(file, stamp)
                yield file
        except ObjectMissingError:
            missing = FileNotFoundError(2, "there is no such object")
            raise unreadable(Path(self.relative), missing) from None
        except ObjectChangedError:
            raise self._changed() from None

    def digest(self) -> str:
        """The sha256 of its bytes, as hex."""
        if is_url(self.root):
            return _store_at(self.root).digest(self.key)
        return sha256_of_file(Path(self.root) / self.key)

    def _check(self, source: Path | RemoteFile, stamp: str | None) -> None:
        try:
            if stamp is not None and stamp != stamp_of(source):
                raise self._changed()
            if isinstance(source, Path) and not stat.S_ISREG(source.stat().st_mode):
                raise DataError(
                    f"{self.relative} is not a file",
                    file=str(source),
                    remedy="copy what it delivers into a file, and score that",
                )
        except OSError as error:
            raise unreadable(Path(self.relative), error) from None

    def _changed(self) -> DataError:
        return DataError(
            f"{self.relative} was changed while it was scored",
            file=self.relative,
            remedy="score it again when nobody writes to it",
        )


def stamp_of(source: Path | RemoteFile) -> str:
    """What every write of a file changes, without a look into it."""
    if isinstance(source, RemoteFile):
        return source.stamp
    status = source.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def find_inputs(specs: Sequence[str], workspace: str | None = None) -> list[InputFile]:
    """Every file that files, folders, patterns and URLs name, in a fixed order.

    Left out is what is hidden, and what this program keeps below a folder that is named: folders of
    answers, and the workspace. What is named itself counts.

    Args:
        specs: as the user wrote them.
        workspace: the folder (absolute) or URL of the workspace.

    Raises:
        DataError: something named is not there, or there is no Parquet file at all.
        ConfigError: two files would have their answers in one place, or it is the workspace.
    """
    found: dict[tuple[str, str], InputFile] = {}
    for spec in specs:
        if not spec.strip():
            raise ConfigError("an input is empty", remedy="name files, folders, patterns or URLs")
        if spec.endswith((".csv", ".csv.gz")):
            raise ConfigError(
                "files of answers are made of Parquet files, a submission of a CSV file",
                input=spec,
                remedy="for Kaggle: --output submission.csv; else write the rows as Parquet first: "
                f"mnist-pipeline data convert csv:{spec} --unlabelled --output images.parquet "
                "--format parquet",
            )
        here = _at_url(spec, workspace) if is_url(spec) else _on_disk(spec, workspace)
        if not here:
            raise DataError(
                f"there is no Parquet file in {spec}",
                input=spec,
                expected="files that end in " + ", ".join(SUFFIXES),
                remedy="check the path; a file of another name can be named itself",
            )
        for file in here:
            found.setdefault((file.root, file.key), file)
    by_output: dict[str, InputFile] = {}
    for file in found.values():
        other = by_output.setdefault(file.relative, file)
        if other is not file:
            raise ConfigError(
                f"two inputs would have their answers in one file, {file.relative}",
                inputs=[f"{other.root}/{other.key}", f"{file.root}/{file.key}"],
                remedy="score the folder above them, or give each call an --output of its own",
            )
    return sorted(found.values(), key=lambda file: file.relative)


def _store_at(url: str) -> Store:
    return Store.open(url, writable=False, called="input")


def _on_disk(spec: str, workspace: str | None) -> list[InputFile]:
    path = path_of(spec.removeprefix("file://"))
    try:
        if path.is_dir():
            base, files = path, list(_below(path))
        elif path.exists() or not glob.has_magic(str(path)):
            path.stat()
            return [InputFile(str(path.parent.resolve()), path.name, path.name)]
        else:
            base = _without_magic(path)
            files = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207
            files = [p for p in files if not p.is_dir()]
    except OSError as error:
        raise unreadable(Path(error.filename or path), error) from None
    root = base.resolve()
    if path == base and str(root) == workspace:
        raise _the_workspace(spec)
    folders = {folder for file in files for folder in file.relative_to(base).parents}
    ours = {folder for folder in folders if (base / folder / MARKER).exists()}
    ours |= {folder for folder in folders if str(root / folder) == workspace}
    inputs = []
    for file in files:
        name = file.relative_to(base).as_posix()
        if not _is_left_out(name, ours):
            inputs.append(InputFile(str(root), name, name))
    return inputs


def _below(folder: Path) -> Iterator[Path]:
    """The Parquet files in a folder, however deep.

    Raises:
        OSError: a folder in it cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    for where, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(_HIDDEN)]
        yield from (Path(where) / name for name in names if name.endswith(SUFFIXES))


def _the_workspace(spec: str) -> ConfigError:
    return ConfigError(
        f"{spec} is the workspace, and no folder of images",
        remedy="name the folder where the images are, or with --workspace the one of the model",
    )


def _is_left_out(name: str, ours: Container[PurePath]) -> bool:
    """Whether a file is hidden, or lies in a folder of ours below the folder that was named."""
    path = PurePosixPath(name)
    if any(part.startswith(_HIDDEN) for part in path.parts):
        return True
    return any(folder in ours for folder in path.parents if folder.name)


def _without_magic(pattern: Path) -> Path:
    """The folder down to which a pattern says exactly where to look."""
    parts = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


def _at_url(spec: str, workspace: str | None) -> list[InputFile]:
    """Objects below a prefix, or those that match a pattern in which `*` crosses folders too."""
    scheme, _, rest = spec.partition("://")
    bucket, _, key = rest.partition("/")
    root = f"{scheme}://{bucket}"
    store = _store_at(root)
    base, matches = key.rstrip("/"), None
    if glob.has_magic(key):
        fixed = re.split(r"[*?\[]", key, maxsplit=1)[0]
        base, matches = fixed.rpartition("/")[0], re.compile(fnmatch.translate(key))
    elif key and store.exists(key):
        return [InputFile(root, key, PurePosixPath(key).name)]
    below = f"{root}/{base}/" if base else f"{root}/"
    if matches is None and f"{workspace}/" == below:
        raise _the_workspace(spec)
    found = {key.removeprefix(f"{base}/"): key for key in (info.key for info in store.list(base))}
    ours = {PurePosixPath(name).parent for name in found if PurePosixPath(name).name == MARKER}
    ours |= {PurePosixPath(workspace.removeprefix(below))} if workspace else set()
    inputs = []
    for relative, key in found.items():
        wanted = matches.match(key) if matches else key.endswith(SUFFIXES)
        if wanted and not _is_left_out(relative, ours):
            inputs.append(InputFile(root, key, relative))
    return inputs
