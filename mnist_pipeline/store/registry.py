"""The registry: versions of models, which of them is champion, and how that came about.

models/<name>/versions/<n>/   claimed by claim.json, visible from its manifest.json on
models/<name>/channels/champion/   a series: who was champion, when and why
models/<name>/runs/   a series: the finished runs
"""

from __future__ import annotations

import dataclasses
import getpass
import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mnist_pipeline.errors import ConfigError, IntegrityError, did_you_mean
from mnist_pipeline.refs import readable_json
from mnist_pipeline.store.manifest import Manifest
from mnist_pipeline.store.objects import ObjectMissingError, Store
from mnist_pipeline.store.owner import Owner
from mnist_pipeline.store.series import Entry, Series
from mnist_pipeline.store.together import together

CHAMPION = "champion"
SECONDS_TO_FINISH = 600


@dataclasses.dataclass(frozen=True)
class VersionInfo:
    """One row of `models list`.

    Attributes:
        status: `promoted` (is or was champion), `held`, `blocked`, or `damaged`.
        channels: the channels that point at it now.
    """

    name: str
    version: int
    created: str
    accuracy: float | None
    status: str
    channels: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Registry:
    """The models in a store."""

    store: Store

    def names(self) -> list[str]:
        """Every model name."""
        return list(self.store.children("models"))

    def champions(self, name: str) -> Series:
        """The series of a name's champions."""
        return Series(self.store, f"models/{name}/channels/{CHAMPION}", ("version",))

    def runs(self, name: str) -> Series:
        """The series of a name's finished runs."""
        return Series(self.store, f"models/{name}/runs", ("run", "run_key", "status", "version"))

    def claim(self, name: str, run: str, run_key: str, numbers: Sequence[int] | None = None) -> int:
        """A version number that nobody else has; visible only once its manifest is written.

        Args:
            name: of the model.
            run: which run claims it.
            run_key: what its result depends on.
            numbers: those in use, if somebody has just looked; more may have come since.
        """
        owner = dataclasses.asdict(Owner.this())
        claim = {"run": run, "run_key": run_key, "owner": owner}
        number = max(self.numbers(name) if numbers is None else numbers, default=0) + 1
        while not self.store.put_if_absent(
            f"{self.prefix(name, number)}/claim.json", readable_json(claim)
        ):
            number += 1
        return number

    def holds_claim(self, name: str, version: int, run: str) -> bool:
        """Whether a version number is still claimed by a run."""
        try:
            claim = json.loads(self.store.get(f"{self.prefix(name, version)}/claim.json"))
            return bool(claim["run"] == run)
        except (ObjectMissingError, ValueError, KeyError, TypeError):
            return False

    def prefix(self, name: str, version: int) -> str:
        """Where the files of a version lie."""
        return f"models/{name}/versions/{version}"

    def publish(self, manifest: Manifest) -> None:
        """Makes a version visible; its files are in the store already."""
        key = f"{self.prefix(manifest.name, manifest.version)}/manifest.json"
        self.store.put_if_absent(key, manifest.to_bytes())

    def abandoned(
        self, name: str, run: str, run_key: str, numbers: Sequence[int] | None = None
    ) -> Manifest | None:
        """The version of a run with this key that was killed right after publishing it, if any.

        Only where nobody else can still be at it, and no finished run speaks of it.
        """

        def found(number: int) -> Manifest | None:
            try:
                claim = json.loads(self.store.get(f"{self.prefix(name, number)}/claim.json"))
                if claim["run_key"] != run_key:
                    return None
                manifest = self.manifest(name, number)
                ours = manifest.run_key == run_key and _abandoned(claim, manifest, run)
            except (IntegrityError, ConfigError, ValueError, KeyError, TypeError):
                return None  # never finished, or damaged: not one to go on with
            return manifest if ours else None

        used = self.numbers(name) if numbers is None else numbers
        newest = sorted(used, reverse=True)[:3]
        ours = [manifest for manifest in together(self.store, found, newest) if manifest]
        finished = (
            {entry.value.get("version") for entry in self.runs(name).history()} if ours else ()
        )
        return next((each for each in ours if each.version not in finished), None)

    def manifest(self, name: str, version: int) -> Manifest:
        """The manifest of a version.

        Raises:
            ConfigError: there is no such version.
            IntegrityError: it is damaged.
        """
        key = f"{self.prefix(name, version)}/manifest.json"
        try:
            return Manifest.from_bytes(self.store.get(key), key)
        except ObjectMissingError:
            raise ConfigError(
                f"there is no version {name}@{version}",
                remedy="`mnist-pipeline models list` shows what there is",
            ) from None

    def champion(self, name: str) -> Entry | None:
        """The newest entry of a name's champion series, or None."""
        return self.champions(name).latest()

    def find(self, reference: str) -> Manifest:
        """The version that `name@version`, `name@champion` or `name` means.

        Raises:
            ConfigError: there is none.
        """
        name, version = parse_reference(reference)
        names = self.names()
        if name not in names:
            raise ConfigError(
                f"there is no model called {name!r}",
                workspace=self.store.url,
                remedy=did_you_mean(name, names) if names else "train one: `mnist-pipeline train`",
            )
        if version is not None:
            return self.manifest(name, version)
        champion = self.champion(name)
        if champion is None:
            raise ConfigError(
                f"{name!r} has no champion yet",
                remedy=f"promote a version: `mnist-pipeline models promote {name}@N --reason …`",
            )
        return self.manifest(name, champion.value["version"])

    def versions(self, name: str, newest: int | None = None) -> list[VersionInfo]:
        """Every visible version of a name, oldest first; or the newest ones and the champion."""
        history = self.champions(name).history()
        promoted = {entry.value["version"] for entry in history}
        current = history[-1].value["version"] if history else None
        claimed = self.numbers(name)
        last = claimed if newest is None else claimed[-newest:]
        shown = [number for number in claimed if number == current or number in last]

        def info(number: int) -> VersionInfo | None:
            channels = (CHAMPION,) if number == current else ()
            try:
                manifest = self.manifest(name, number)
            except ConfigError:
                return None  # claimed, and not visible
            except IntegrityError:
                return VersionInfo(name, number, "", None, "damaged", channels)
            blocked = manifest.verdict["status"] == "block"
            status = "promoted" if number in promoted else "blocked" if blocked else "held"
            accuracy = manifest.metrics.get("accuracy")
            return VersionInfo(name, number, manifest.created, accuracy, status, channels)

        return [row for row in together(self.store, info, shown) if row]

    def promote(
        self, name: str, version: int, reason: str, *, after: Entry | None, by_hand: bool = False
    ) -> Entry | None:
        """Makes a version champion, unless the champion is no longer the one seen (`after`)."""
        value = {
            "version": version,
            "since": now(),
            "reason": reason,
            "by": user() if by_hand else "gate",
        }
        return self.champions(name).append(value, after=after)

    def before_champion(self, name: str) -> int:
        """The version that was champion before the present one, rollbacks undone.

        Raises:
            ConfigError: there was none.
        """
        before = _reign_before(self.champions(name).history())
        if before is None:
            raise ConfigError(
                f"there is no champion of {name!r} to go back to",
                remedy="`mnist-pipeline models list` shows the versions there are",
            )
        return before

    def rollback(self, name: str, reason: str) -> Entry:
        """Makes the champion before the present one champion again.

        Raises:
            ConfigError: there was none before.
        """
        while True:
            seen = self.champion(name)
            value = {
                "version": self.before_champion(name),
                "since": now(),
                "reason": reason,
                "by": user(),
                "rollback": True,
            }
            entry = self.champions(name).append(value, after=seen)
            if entry:
                return entry

    def record_run(
        self, name: str, outcome: Mapping[str, Any], seen: Sequence[int] | None = None
    ) -> Entry:
        """Appends a finished run to its series, of which one may have `seen` the numbers."""
        return self.runs(name).add(dict(outcome), seen)

    def numbers(self, name: str) -> list[int]:
        """Every version number that is claimed, visible or not, ascending."""
        names = self.store.children(f"models/{name}/versions")
        return sorted(int(number) for number in names if number.isdecimal())


def parse_reference(reference: str) -> tuple[str, int | None]:
    """`digits@3` as (digits, 3); `digits@champion` and `digits` as (digits, None).

    Raises:
        ConfigError: it is neither.
    """
    match = re.fullmatch(r"([a-z0-9][a-z0-9_-]*)(?:@(champion|[0-9]+))?", reference)
    if not match:
        raise ConfigError(
            f"{reference!r} is not a model reference", remedy="write name@version or name@champion"
        )
    name, version = match.groups()
    return name, int(version) if version and version != CHAMPION else None


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def user() -> str:
    """Who is at the keyboard, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _reign_before(history: list[Entry]) -> int | None:
    """The version below the present champion, rollbacks taken off like plates from a stack."""
    stack: list[int] = []
    for entry in history:
        if entry.value.get("rollback"):
            stack.pop()
        elif not stack or stack[-1] != entry.value["version"]:
            stack.append(entry.value["version"])
    return stack[-2] if len(stack) > 1 else None


def _abandoned(claim: Mapping[str, Any], manifest: Manifest, run: str) -> bool:
    """Whether nobody but `run` will ever finish what a claim began.

    Between a manifest and the record of its run lie seconds. Where it cannot be seen whether the
    process lives (another host, another container), `SECONDS_TO_FINISH` must have passed.
    """
    if claim["run"] == run:
        return True  # this very run, tried again
    owner = Owner.from_json(claim["owner"])
    if owner.is_known:
        return owner.is_gone
    age = datetime.now(UTC) - datetime.fromisoformat(manifest.created)
    return age.total_seconds() > SECONDS_TO_FINISH
