"""The publisher `onnx`: a file a version, in a folder or a bucket."""

from __future__ import annotations

import dataclasses

from mnist_pipeline.errors import OutsideError
from mnist_pipeline.export.onnx_file import onnx_file
from mnist_pipeline.plugins import option
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.places import is_url
from mnist_pipeline.store.publishers import FinishedVersion


@dataclasses.dataclass(frozen=True)
class Onnx:
    """Puts each version as one ONNX file into a folder: `digits-3.onnx`."""

    folder: str = option(dataclasses.MISSING, "a folder, or the URL of one, for NAME-VERSION.onnx")

    def publish(self, version: FinishedVersion) -> str:
        exported = onnx_file(version)
        try:
            store = Store.open(self.folder, called="folder")
        except OutsideError as error:
            if not is_url(self.folder):
                error.remedy = "set publish.onnx.folder to another one, or mend its permissions"
            raise
        file = f"{version.manifest.name}-{version.manifest.version}.onnx"
        store.put(file, exported.data)
        return f"{store.place}/{file}"
