"""Where a part came from, and how to get it back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from mnist_pipeline import plugins
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import PipelineError
from mnist_pipeline.refs import Ref
from mnist_pipeline.stages.bucket import BucketPart
from mnist_pipeline.stages.inputs import Input, inputs_of, landing_inputs, parse_spec
from mnist_pipeline.store.manifest import Manifest
from mnist_pipeline.store.objects import Store

State = Literal["there", "changed", "gone", "to fetch"]


@dataclasses.dataclass(frozen=True)
class PartOfVersion:
    """A part as the data set of a version names it.

    Attributes:
        key: its part key.
        name: what people call it.
        role: `train` or `exam`.
        data: its canonical file.
    """

    key: str
    name: str
    role: Any
    data: Ref

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> PartOfVersion:
        ref = Ref.from_json(entry)
        return cls(ref.key.split("/")[1], entry["name"], entry["role"], ref)


@dataclasses.dataclass(frozen=True)
class Origin:
    """The source of a part, as it is found today.

    Attributes:
        spec: the source, as `--source` takes it; several where nobody can tell which it was.
        state: whether its bytes are there as they were, are others now, are gone, or lie elsewhere.
    """

    spec: str
    state: State

    def remedy(self, reference: str) -> str:
        """How to get a part of this origin back."""
        again = f"`mnist-pipeline reproduce {reference} --from-sources`"
        if self.state == "there":
            return (
                f"its source is as it was: {again} reads it again, and a training with "
                f"--source {self.spec} makes the part anew"
            )
        if self.state == "to fetch":
            return f"{again} fetches its source again, and so does a training with it"
        if self.state == "changed":
            return f"the source holds other bytes today: restore it, then {again}"
        return f"restore the part from a backup; or the source, then {again}"


def origin_of(manifest: Manifest, contract: ImageContract, part: PartOfVersion) -> Origin:
    """Looks for the source of a part; nothing is fetched."""
    specs: list[str] = [*manifest.config["data"]["sources"], *_landing(manifest)]
    state: State = "gone"
    for spec in specs:
        try:
            name, _ = parse_spec(spec)
            if _fetches(name):
                return Origin(spec, "to fetch")
            for found in inputs_of([spec], None):
                if isinstance(found.part, BucketPart):
                    if found.part.name == part.name:
                        return Origin(spec, "to fetch")
                    continue
                if found.key(contract) == part.key:
                    return Origin(spec, "there")
                if found.part.name == part.name:
                    state = "changed"
                    specs = [spec]
        except PipelineError:
            continue  # what cannot be read is gone
    return Origin(", ".join(specs), state)


def inputs_by_key(
    manifest: Manifest, contract: ImageContract, store: Store, downloads: Path | None
) -> dict[str, Input]:
    """The inputs of a version's sources as they are today, by the key of the part they make.

    Args:
        manifest: the version.
        contract: what its rows obey.
        store: where missing files are downloaded to.
        downloads: files downloaded before, or None.

    Raises:
        ConfigError: a source is not understood any more.
        DataError: a source is gone.
        OutsideError: it has to come over a network, and that failed.
    """
    if downloads and downloads.is_dir() and store.root:
        lent = store.root / "downloads" / "mnist"
        lent.mkdir(parents=True, exist_ok=True)
        for file in downloads.iterdir():
            (lent / file.name).symlink_to(file)
    named = inputs_of(manifest.config["data"]["sources"], store)
    inputs: Iterable[Input] = [*named, *landing_inputs(_landing(manifest), store)]
    return {source.key(contract): source for source in inputs}


def _landing(manifest: Manifest) -> list[str]:
    specs: list[str] = manifest.config["data"].get("landing", [])
    return specs


def _fetches(source: str) -> bool:
    """Whether a source may have to come over a network."""
    return "cache" in {field.name for field in dataclasses.fields(plugins.load("source", source))}
