"""Transfer: how well a model that saw nothing but drawings reads real handwriting."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mnist_pipeline.refs import Ref, sha256_of_file
from mnist_pipeline.sources.mnist import test_part
from mnist_pipeline.stages.inputs import parse_spec
from mnist_pipeline.stages.run import Made, Run, memoized
from mnist_pipeline.store.bundles import BUNDLE_FILES, bundle_from


@dataclasses.dataclass(frozen=True)
class Transfer:
    """What a model reads of images that neither trained nor judged it.

    Attributes:
        name: what they are, for people.
        accuracy: the share read correctly.
        n: how many there are.
    """

    name: str
    accuracy: float
    n: int

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def drawn(sources: Sequence[str]) -> Literal["all", "some", "none"]:
    """Whether the program draws the rows of these sources: of all, some, or none."""
    of_drawings = [parse_spec(spec)[0].partition(".v")[0] == "synthetic" for spec in sources]
    return "all" if all(of_drawings) else "some" if any(of_drawings) else "none"


def transfer(run: Run, bundle: Mapping[str, Ref]) -> Transfer | None:
    """Reads MNIST's test images with a bundle that was trained on drawings alone.

    Nothing is decided by it, and nothing is downloaded for it.

    Args:
        run: its configuration says what was learnt from.
        bundle: the bundle's files by name.

    Returns:
        None if other data than drawings were learnt from, or the files are not at hand.
    """
    if drawn(run.config.data.specs) != "all":
        return None
    part = test_part(run.store.root / "downloads" / "mnist" if run.store.root else None)
    if part is None:
        return None
    files = {name: bundle[name] for name in BUNDLE_FILES}

    def make() -> Made:
        model = bundle_from({name: run.store.get(ref.key) for name, ref in files.items()})
        right = rows = 0
        for records in part.read(run.contract):
            right += int(np.sum(model.predict(records.images).labels == records.labels))
            rows += len(records)
        read = Transfer("MNIST's test images", right / rows, rows)
        return {}, read.to_json(), f"{read.accuracy:.2%} of {rows:,} {read.name} read correctly"

    result = memoized(
        run,
        "evaluate",
        1,
        what="real handwriting",
        inputs={
            **{path.name: sha256_of_file(path) for path in part.paths},
            **{name: ref.digest for name, ref in files.items()},
        },
        config={"transfer": True},
        make=make,
    )
    facts = result.facts
    return Transfer(facts["name"], facts["accuracy"], facts["n"])
