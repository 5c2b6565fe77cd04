"""Where an export goes: a file on disk, or an object in a bucket; whole, or not at all."""

from __future__ import annotations

from mnist_pipeline.convert.target import Target
from mnist_pipeline.errors import ConfigError
from mnist_pipeline.sources.files import path_of
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.places import is_url


class ExportTarget:
    """A file to be written, named by a path or a URL.

    Raises:
        ConfigError: it is there already and is not to be replaced, or cannot be a file.
        OutsideError: nobody may look there.
    """

    def __init__(self, output: str, *, overwrite: bool) -> None:
        self.output, self._overwrite = output, overwrite
        if not is_url(output):
            self._target = Target(
                path_of(output.removeprefix("file://")), folder=False, overwrite=overwrite
            )
            self._target.check()
            self.output = str(self._target.path)
            return
        folder, _, self._name = output.rpartition("/")
        if not self._name or folder.endswith(":/"):
            raise ConfigError(
                "the output names no file",
                output=output,
                remedy="name an object in a bucket, e.g. s3://models/digits-3.onnx",
            )
        self._store = Store.open(folder, called="output")
        if not overwrite and self._store.exists(self._name):
            raise self._taken()

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

    def _taken(self) -> ConfigError:
        return ConfigError(
            f"{self._name} exists already",
            output=self.output,
            remedy="choose another --output, or replace it with --overwrite",
        )
