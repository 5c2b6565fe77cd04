"""Inputs: the Parquet files that were named, each with the path its answers will have."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import glob
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from mnist_pipeline.contract.records import unreadable
from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.sources.files import path_of
from mnist_pipeline.store.objects import ObjectMissingError, Store

SUFFIXES = (".parquet", ".parq", ".pq")
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
        """What its folders say of all its rows: `year=2024/` as ("year", "2024")."""
        pairs = []
        for folder in PurePosixPath(self.relative).parts[:-1]:
            name, equals, value = folder.partition("=")
            if equals and name:
                pairs.append((unquote(name), None if value == NULL_PARTITION else unquote(value)))
        return tuple(pairs)

    @contextlib.contextmanager
    def local(self) -> Iterator[Path]:
        """The file on local disk: itself, or a scratch copy of what lies at a URL.

        Raises:
            DataError: it is gone.
        """
        if "://" not in self.root:
            yield Path(self.root) / self.key
            return
        with contextlib.ExitStack() as copies:
            store = Store.open(self.root, writable=False)
            try:
                path = copies.enter_context(store.local(self.key))
            except ObjectMissingError:
                raise unreadable(Path(self.key), FileNotFoundError(2, "it is gone")) from None
            yield path


def find_inputs(specs: Sequence[str], output: str) -> list[InputFile]:
    """Every file that files, folders, patterns and URLs name, in a fixed order.

    Files in `output` are left out, so that a folder may hold its own answers below it.

    Raises:
        DataError: something named is not there, or there is no Parquet file at all.
        ConfigError: two files would have their answers in one place.
    """
    found: dict[tuple[str, str], InputFile] = {}
    for spec in specs:
        here = _at_url(spec) if _is_url(spec) else _on_disk(spec, output)
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


def _is_url(spec: str) -> bool:
    return "://" in spec and not spec.startswith("file://")


def _on_disk(spec: str, output: str) -> list[InputFile]:
    path = path_of(spec.removeprefix("file://"))
    try:
        if path.is_dir():
            base, files = path, [p for p in path.rglob("*") if p.name.endswith(SUFFIXES)]
        elif path.exists() or not glob.has_magic(str(path)):
            path.stat()
            return [InputFile(str(path.parent.resolve()), path.name, path.name)]
        else:
            base = _without_magic(path)
            files = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207
            files = [p for p in files if p.is_file()]
    except OSError as error:
        raise unreadable(path, error) from None
    root = base.resolve()
    own = None if _is_url(output) else path_of(output).resolve()
    inputs = []
    for file in files:
        relative = file.relative_to(base)
        hidden = any(part.startswith((".", "_")) for part in relative.parts)
        if not hidden and not (own and (root / relative).is_relative_to(own)) and file.is_file():
            name = relative.as_posix()
            inputs.append(InputFile(str(root), name, name))
    return inputs


def _without_magic(pattern: Path) -> Path:
    """The folder down to which a pattern says exactly where to look."""
    parts = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


def _at_url(spec: str) -> list[InputFile]:
    """Objects below a prefix, or those that match a pattern in which `*` crosses folders too."""
    scheme, _, rest = spec.partition("://")
    bucket, _, key = rest.partition("/")
    root = f"{scheme}://{bucket}"
    store = Store.open(root, writable=False)
    base, matches = key.rstrip("/"), None
    if glob.has_magic(key):
        fixed = re.split(r"[*?\[]", key, maxsplit=1)[0]
        base, matches = fixed.rpartition("/")[0], re.compile(fnmatch.translate(key))
    elif key and store.exists(key):
        return [InputFile(root, key, PurePosixPath(key).name)]
    inputs = []
    for info in store.list(base):
        relative = info.key.removeprefix(f"{base}/") if base else info.key
        hidden = any(part.startswith((".", "_")) for part in relative.split("/"))
        wanted = matches.match(info.key) if matches else info.key.endswith(SUFFIXES)
        if wanted and not hidden:
            inputs.append(InputFile(root, info.key, relative))
    return inputs
