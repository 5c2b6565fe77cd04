"""The manifest: everything about a version, and the one object whose existence makes it visible."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from mnist_pipeline.errors import IntegrityError
from mnist_pipeline.refs import Ref, readable_json

FORMAT = 1
PLUGIN = "plugin "


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A published version.

    Attributes:
        name, version: `digits`, 3.
        created: UTC, ISO 8601.
        run: the run that made it.
        run_key: sha256 over data, exam, configuration and code: what made it what it is.
        verdict: `status` (promote, hold, block), `reasons`, `against` (the champion's version).
        metrics: the small ones: accuracy, log_loss, ece, n.
        contract: the contract's fingerprint.
        dataset, exam: digests.
        config: the resolved configuration, whole.
        code: digest of the package's source.
        environment: what the numbers were computed with.
        files: the version's files by name.
        cost: of an answer when it was judged: `views`, CPU `microseconds` an image.
    """

    name: str
    version: int
    created: str
    run: str
    run_key: str
    verdict: Mapping[str, Any]
    metrics: Mapping[str, Any]
    contract: str
    dataset: str
    exam: str | None
    config: Mapping[str, Any]
    code: str
    environment: Mapping[str, str]
    files: Mapping[str, Ref]
    cost: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_bytes(self) -> bytes:
        return readable_json({"format": FORMAT, **dataclasses.asdict(self)})

    @classmethod
    def from_bytes(cls, data: bytes, key: str) -> Manifest:
        """The manifest in the bytes of the object `key`.

        Raises:
            IntegrityError: it is damaged, or of a format this program does not know.
        """
        try:
            fields = json.loads(data)
            if fields.pop("format") != FORMAT:
                raise ValueError("unknown format")
            files = {name: Ref.from_json(ref) for name, ref in fields.pop("files").items()}
            verdict, metrics = fields["verdict"], fields["metrics"]
            if not (isinstance(verdict, dict) and {"status", "reasons"} <= set(verdict)):
                raise ValueError("no verdict")
            if not isinstance(metrics, dict):
                raise ValueError("no metrics")
            return cls(**fields, files=files)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(
                "a manifest is damaged",
                key=key,
                cause=str(error),
                remedy="restore this object from a backup, or use another version",
            ) from None


def environment(packages: Mapping[str, str]) -> dict[str, str]:
    """What results depend on beside code, configuration and data.

    Args:
        packages: the package and version of each plugin, by the plugin's name.
    """
    build = np.show_config(mode="dicts")
    blas = build["Build Dependencies"]["blas"]
    kernels = {info["architecture"] for info in threadpool_info() if "architecture" in info}
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
        "blas": f"{blas.get('name', '?')} {blas.get('version', '?')}",
        "blas_threads": "1",
        # The families of processors that BLAS and NumPy found here: each sums in its own order.
        "blas_kernels": " ".join(sorted(kernels)) or "?",
        "simd": " ".join(build.get("SIMD Extensions", {}).get("found", ())) or "?",
        "machine": f"{platform.system()} {platform.machine()}",
        **{f"{PLUGIN}{name}": package for name, package in sorted(packages.items())},
    }


def packages_in(environment: Mapping[str, str]) -> dict[str, str]:
    """The packages that `environment` was given; none in manifests older than that."""
    return {
        key.removeprefix(PLUGIN): value
        for key, value in environment.items()
        if key.startswith(PLUGIN)
    }
