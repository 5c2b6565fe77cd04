"""The ensemble: several networks that learn apart and answer together."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline import plugins
from mnist_pipeline.model.arrays import Array, Parameters
from mnist_pipeline.model.graph import Value
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.predictor import Averaged, Predictor
from mnist_pipeline.plugins import option

Table = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Ensemble(Model):
    """Several networks; their probabilities are averaged (Hansen & Salamon 1990).

    Each member is trained as if it were alone, with a seed of its own, in a process of its own as
    far as there are cores:

        [model]
        kind = "ensemble"
        members = 5

        [model.member]
        kind = "cnn"

    With `[[model.member]]` several times, members are of those kinds in turn. Parameters are those
    of the members, `0.W1`, `0.b1`, …, `1.W1`, …
    """

    member: Table | tuple[Table, ...] = option(  # noqa: RUF009
        dataclasses.MISSING, "the kind of a member and its options; or a list of such tables"
    )
    members: int = option(3, "how many there are; kinds of a list are taken in turn")

    MOST_MEMBERS: ClassVar[int] = 100

    def __post_init__(self) -> None:
        if not 1 <= self.members <= self.MOST_MEMBERS:
            raise ValueError(f"an ensemble has 1 to {self.MOST_MEMBERS} members")
        tables = (self.member,) if isinstance(self.member, Mapping) else tuple(self.member)
        if not 1 <= len(tables) <= self.members:
            raise ValueError(f"{self.members} members cannot be of {len(tables)} kinds")
        # What is stored is what was meant on the day: versions of names, all options.
        full = tuple(_completed(table) for table in tables)
        object.__setattr__(self, "member", full[0] if isinstance(self.member, Mapping) else full)

    @functools.cached_property
    def specs(self) -> tuple[Model, ...]:
        """The members, without weights."""
        tables = (self.member,) if isinstance(self.member, Mapping) else self.member
        built = [plugins.build("model", t["kind"], _options(t)) for t in tables]
        return tuple(built[n % len(built)] for n in range(self.members))

    @property
    def member_kinds(self) -> tuple[str, ...]:
        tables = (self.member,) if isinstance(self.member, Mapping) else self.member
        return tuple(tables[n % len(tables)]["kind"] for n in range(self.members))

    def seeds(self, seed: int) -> list[int]:
        """The seed of each member; the k-th is the same however many there are."""
        children = np.random.SeedSequence(seed).spawn(self.members)
        return [int(child.generate_state(1)[0]) for child in children]

    def initialise(self, pixels: int, classes: int, rng: np.random.Generator) -> Parameters:
        return joined([spec.initialise(pixels, classes, rng) for spec in self.specs])

    def loss_and_gradients(
        self,
        parameters: Parameters,
        x: Array,
        labels: NDArray[np.integer[Any]],
        gradients: Parameters,
        *,
        label_smoothing: float,
        rng: np.random.Generator,
    ) -> float:
        """The sum of the members' losses: each one's gradient is what it would be alone."""
        return sum(
            spec.loss_and_gradients(
                own(parameters, n),
                x,
                labels,
                own(gradients, n),
                label_smoothing=label_smoothing,
                rng=rng,
            )
            for n, spec in enumerate(self.specs)
        )

    def compile(self, parameters: Parameters, normalizer: FittedNormalizer) -> Predictor:
        return Averaged(
            [spec.compile(own(parameters, n), normalizer) for n, spec in enumerate(self.specs)]
        )

    def to_onnx(self, parameters: Parameters, normalizer: FittedNormalizer, pixels: Value) -> Value:
        first, *others = (
            spec.to_onnx(own(parameters, n), normalizer, pixels)
            for n, spec in enumerate(self.specs)
        )
        return first.apply("Mean", *others)

    def lanes(self, batch_size: int) -> int:
        return max(spec.lanes(batch_size) for spec in self.specs)

    def calibrate(self, parameters: Parameters, blocks: Iterable[Array]) -> Parameters:
        kept = list(blocks)  # every member reads them
        return joined(
            [spec.calibrate(own(parameters, n), kept) for n, spec in enumerate(self.specs)]
        )

    def products(self, pixels: int, parameters: Parameters) -> int | None:
        counts = [spec.products(pixels, own(parameters, n)) for n, spec in enumerate(self.specs)]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def zero_unlit(
        self, parameters: Parameters, lit: NDArray[np.bool_], normalizer: FittedNormalizer
    ) -> Parameters:
        return joined(
            [
                spec.zero_unlit(own(parameters, n), lit, normalizer)
                for n, spec in enumerate(self.specs)
            ]
        )

    def dead_units(self, parameters: Parameters, x: Array) -> float:
        return max(spec.dead_units(own(parameters, n), x) for n, spec in enumerate(self.specs))


def joined(members: Iterable[Parameters]) -> Parameters:
    """The parameters of an ensemble from those of its members, in order."""
    return {f"{n}.{name}": a for n, each in enumerate(members) for name, a in each.items()}


def own(parameters: Parameters, n: int) -> Parameters:
    """The parameters of member n, under the names that it knows."""
    prefix = f"{n}."
    return {
        name.removeprefix(prefix): array
        for name, array in parameters.items()
        if name.startswith(prefix)
    }


def _options(table: Mapping[str, Any]) -> Table:
    return {name: value for name, value in table.items() if name != "kind"}


def _completed(table: Mapping[str, Any]) -> Table:
    """The table of a member with the version of its name and all its options.

    Raises:
        ConfigError: there is no such model, or it has no such option.
        ValueError: it names no model, or another ensemble.
    """
    if not isinstance(table.get("kind"), str):
        raise ValueError("a member needs a kind, e.g. --set model.member.kind=cnn")
    name = plugins.resolve("model", table["kind"]).name
    if issubclass(plugins.load("model", name), Ensemble):
        raise ValueError("a member of an ensemble cannot be an ensemble")
    spec = plugins.build("model", name, _options(table))
    return {"kind": name, **dataclasses.asdict(spec)}
