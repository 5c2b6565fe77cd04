"""Where an export goes: a file on disk, or an object in a bucket; whole, or not at all."""

from __future__ import annotations

from pathlib import Path

from mnist_pipeline.convert.target import Target, output_path
from mnist_pipeline.errors import ConfigError
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.places import check_place, is_url

BEGINNING = 64
"""Bytes of a file that tell what wrote it."""


class ExportTarget:
    """A file to be written, named by a path or a URL.

    Args:
        output: the path or URL.
        overwrite: whether a file may be replaced that holds the `signature`.
        signature: bytes that stand near the beginning of such files, and of no others.

    Raises:
        ConfigError: it is there already and is not to be replaced, or cannot be a file.
        OutsideError: nobody may look there.
    """

    def __init__(self, output: str, *, overwrite: bool, signature: bytes) -> None:
        self.output, self._overwrite = output, overwrite
        if not is_url(output):
            path = output_path(output)
            self._target = Target(path, folder=False, overwrite=overwrite)
            self._target.check()
            self.output = str(self._target.path)
            if self._target.path.is_file():
                with self._target.path.open("rb") as file:
                    self._check_own(file.read(BEGINNING), signature)
            return
        check_place(output, "output")
        folder, _, self._name = output.rpartition("/")
        if not self._name or folder.endswith(":/"):
            raise ConfigError(
                "the output names no file",
                output=output,
                remedy="name an object in a bucket, e.g. s3://models/digits-3.onnx",
            )
        self._store = Store.open(folder, called="output")
        if self._store.exists(self._name):
            if not overwrite:
                raise self._taken()
            with (
                self._store.reader(self._name, block=BEGINNING) as found,
                found.open("rb") if isinstance(found, Path) else found as file,
            ):
                self._check_own(file.read(BEGINNING), signature)

    def write(self, data: bytes) -> None:
        """Puts the whole file there in one step.

        Raises:
            ConfigError: somebody else has put one there meanwhile.
            OutsideError: it cannot be written.
        """
        if not is_url(self.output):
            with self._target.staged() as staging:
                staging.path.write_bytes(data)
                staging.publish()
        elif self._overwrite:
            self._store.put(self._name, data)
        elif not self._store.put_if_absent(self._name, data):
            raise self._taken()

    def _check_own(self, beginning: bytes, signature: bytes) -> None:
        if signature not in beginning:
            raise ConfigError(
                "the output exists and is no such export",
                output=self.output,
                remedy="choose another --output, or move that file away",
            )

    def _taken(self) -> ConfigError:
        return ConfigError(
            f"{self._name} exists already",
            output=self.output,
            remedy="choose another --output, or replace it with --overwrite",
        )
