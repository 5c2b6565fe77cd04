"""Why a version is not made again as it was: what is on record of then, held against now."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mnist_pipeline.config import Config
from mnist_pipeline.refs import code_digest
from mnist_pipeline.stages.resolve import plugin_packages
from mnist_pipeline.stages.run_key import run_key_of
from mnist_pipeline.stages.validate import Snapshot
from mnist_pipeline.store.manifest import PLUGIN, Manifest, environment, packages_in

UNKNOWN = "unknown"
REMEDIES = {
    "data": "restore it from a backup",
    "configuration": "restore the manifest from a backup: this is not what it was trained with",
    "code": "run this with the code that made it",
    "libraries": "install the libraries it was made with, and run this again",
    "cpu": "bits are promised on one family of processors only: run this on the one that made it",
    UNKNOWN: "nothing on record has changed: run it again, and if it differs again report a bug",
}
_CPU = ("machine", "simd", "blas_kernels")


@dataclasses.dataclass(frozen=True)
class Difference:
    """Something on record that is not today what it was.

    Attributes:
        cause: `configuration`, `code`, `libraries` or `cpu`.
        what: `numpy`, `blas_kernels`, `plugin mlp.v1` …
        then, now: its two values.
    """

    cause: str
    what: str
    then: str
    now: str


def differences(manifest: Manifest, config: Config, snapshot: Snapshot | None) -> list[Difference]:
    """All that a result depends on, and that differs today from what a manifest says.

    The run key of a version is a digest over its data, configuration and code: if what the manifest
    says of them does not give it, the manifest was altered.

    Args:
        manifest: the version.
        config: its configuration, as it is understood today.
        snapshot: its data set made again, if it came to that.
    """
    found = []
    packages = packages_in(manifest.environment)
    if snapshot and packages:  # older manifests do not name the packages
        key = run_key_of(
            manifest.config,
            dataset=manifest.dataset,
            exam=manifest.exam,
            exam_changed_to=snapshot.exam_changed_to,
            packages=packages,
            code=manifest.code,
        )
        if key != manifest.run_key:
            found.append(Difference("configuration", "run_key", manifest.run_key, key))
    if manifest.code != code_digest():
        found.append(Difference("code", "code", manifest.code, code_digest()))
    now = environment(plugin_packages(config))
    for what, then in manifest.environment.items():
        if now.get(what, then) != then:
            cause = "code" if what.startswith(PLUGIN) else "cpu" if what in _CPU else "libraries"
            found.append(Difference(cause, what, then, now[what]))
    return found


def causes(stage: str, known: Sequence[Difference]) -> list[str]:
    """What may have made a stage differ, the likeliest first.

    Putting rows together is no arithmetic on fractions: there the processor is not to blame, and if
    nothing else has changed, the data has.
    """
    found = dict.fromkeys(difference.cause for difference in known)
    if stage in ("ingest", "validate"):
        return [cause for cause in found if cause != "cpu"] or ["data"]
    return list(found) or [UNKNOWN]
