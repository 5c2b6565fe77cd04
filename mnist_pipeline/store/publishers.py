"""Publishers: a finished version goes somewhere else too; what became of that is written down.

The registry is no publisher and waits for none: a version is visible before any of them is asked,
and stays so whatever they do. What arrived, and what did not, is kept beside the versions, in
`models/<name>/published/<version>/<publisher>.json`, so that the next run or `models publish` can
make up for it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Protocol

from mnist_pipeline import plugins
from mnist_pipeline.errors import (
    ConfigError,
    IntegrityError,
    PipelineError,
    did_you_mean,
    discreet,
    explained,
    storable,
    without_secrets,
)
from mnist_pipeline.guard import BrokenPluginError, received
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.plugins import PluginInfo
from mnist_pipeline.refs import readable_json, sha256
from mnist_pipeline.store.bundles import verify_version
from mnist_pipeline.store.manifest import Manifest
from mnist_pipeline.store.objects import ObjectMissingError, Store
from mnist_pipeline.store.registry import Registry, now


@dataclasses.dataclass(frozen=True, eq=False)
class FinishedVersion:
    """A version that is visible in the registry, and has just been verified.

    Attributes:
        manifest: everything about it: `name`, `version`, `verdict`, `metrics`, `config`, `files`.
        bundle: contract, normalizer and network, ready to predict.
        is_champion: whether it is the champion of its name now.
        store: where its files lie.
    """

    manifest: Manifest
    bundle: Bundle
    is_champion: bool
    store: Store = dataclasses.field(repr=False)

    @property
    def reference(self) -> str:
        """What a person calls it: `digits@3`."""
        return f"{self.manifest.name}@{self.manifest.version}"

    def read(self, file: str) -> bytes:
        """The bytes of one of its files, `report.html` or any other name in `manifest.files`.

        Raises:
            ConfigError: it has no such file.
            IntegrityError: the file is not what was published.
        """
        ref = self.manifest.files.get(file)
        if ref is None:
            remedy = did_you_mean(file, self.manifest.files)
            raise ConfigError(f"{self.reference} has no file called {file!r}", remedy=remedy)
        data = self.store.get(ref.key)
        if sha256(data) != ref.digest:
            raise IntegrityError(
                f"{file} of {self.reference} is not what was published",
                key=ref.key,
                remedy="restore it from a backup",
            )
        return data


class Publisher(Protocol):
    """The publisher seam: a frozen dataclass of options that puts a version somewhere else."""

    def publish(self, version: FinishedVersion) -> str:
        """Where the version is now, for a person: an address or a path.

        Any version may come, also one that the gate has held or blocked (`manifest.verdict`). The
        same one may come again, when it became champion or nobody knows whether it had arrived: it
        is then put there once, not twice. Options are kept in the workspace; what is secret comes
        from the environment, and stands in no error.

        Raises:
            OutsideError: it cannot be put there; what to do about it.
        """
        ...


@received("publisher", "publish")
def _where(info: PluginInfo, where: Any, version: object) -> str:
    del version
    if not (isinstance(where, str) and where and storable(where) == where):
        flaw = f"publish returns where the version is, a text, not {where!r}"
        raise BrokenPluginError.breach(info, flaw)
    return where


@dataclasses.dataclass(frozen=True)
class Delivery:
    """What came of publishing a version somewhere else.

    Attributes:
        to: the publisher's resolved name: `webhook.v1`.
        where: where the version is now; None if it did not arrive.
        error: why it did not.
    """

    to: str
    where: str | None = None
    error: PipelineError | None = None

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def words(self) -> str:
        """The same for a person."""
        if self.error is None:
            return f"published to {self.to}: {self.where}"
        return f"not published to {self.to}: {self.error.headline}"

    def to_json(self) -> dict[str, Any]:
        """An entry of `published` in `--json`."""
        if self.error is not None:
            return {"to": self.to, "ok": False, "error": self.error.to_json()}
        return {"to": self.to, "ok": True, "where": self.where}


def finished_version(store: Store, manifest: Manifest) -> FinishedVersion:
    """What a publisher is given.

    Raises:
        IntegrityError: something of it does not hold. OutsideError: a plugin it needs is missing.
    """
    bundle = verify_version(store, manifest)
    champion = Registry(store).champion(manifest.name)
    is_champion = champion is not None and champion.value["version"] == manifest.version
    return FinishedVersion(manifest, bundle, is_champion, store)


def deliver(
    version: FinishedVersion, name: str, publisher: Publisher, *, wanted: bool = True
) -> Delivery:
    """Has a publisher publish a version, and writes down what came of it; raises nothing.

    Args:
        version: what is published.
        name: of the publisher.
        publisher: with its options.
        wanted: whether a failure is to be made up for, with these very options; a try by hand
            that fails leaves what was written down before.
    """
    to = plugins.resolve("publisher", name)
    try:
        delivery = Delivery(to.name, without_secrets(publisher.publish(version)))
    except Exception as error:  # whatever it is: the version is published, and the run goes on
        known = explained(error)
        if known.exit_code == PipelineError.exit_code:
            known = BrokenPluginError.of(to, "went wrong", error)
        delivery = Delivery(to.name, error=discreet(known))
        if not wanted:
            return delivery
    record = {
        **delivery.to_json(),
        "options": _options(publisher),
        "package": to.origin,
        "champion": version.is_champion,
        "when": now(),
    }
    version.store.put(_key(version.manifest, to.name), readable_json(record))
    return delivery


def delivered(version: FinishedVersion, name: str, publisher: Publisher) -> Delivery | None:
    """What came of it before, if the version lies where the publisher would put it now.

    A version that has become champion since goes there again.
    """
    record = _record(version.store, version.manifest, name)
    if not record or not record.get("ok") or record.get("options") != _options(publisher):
        return None
    if version.is_champion and not record.get("champion"):
        return None
    return Delivery(str(record["to"]), str(record["where"]))


def publisher_for(
    store: Store, manifest: Manifest, name: str, options: Mapping[str, Any] | None = None
) -> tuple[str, Publisher]:
    """A publisher with the options it had for a version before, or should have had; some changed.

    Returns:
        Its resolved name, and itself.

    Raises:
        ConfigError: nobody has ever heard of it, or an option is wrong.
        OutsideError: its package is gone, or broken.
    """
    base = name.partition(".v")[0]
    known = {str(each["to"]).partition(".v")[0]: each for each in deliveries(store, manifest)}
    record = known.get(base, {})
    try:
        info = plugins.resolve("publisher", name)
    except plugins.MissingPluginError as error:
        if base not in known:
            raise
        headline = f"{manifest.name}@{manifest.version} cannot be published from here"
        raise plugins.uninstalled(headline, error, record.get("package")) from None
    options = {**record.get("options", {}), **(options or {})}
    return info.name, plugins.build("publisher", info.name, options)


def deliveries(store: Store, manifest: Manifest) -> list[dict[str, Any]]:
    """What is written down of where a version went, by publisher."""
    prefix = f"models/{manifest.name}/published/{manifest.version}"
    return [json.loads(store.get(info.key)) for info in store.list(prefix)]


def _options(publisher: Publisher) -> dict[str, Any]:
    """Its options as they come back from JSON."""
    options: dict[str, Any] = json.loads(
        readable_json(dataclasses.asdict(publisher))  # type: ignore[call-overload]
    )
    return options


def _key(manifest: Manifest, name: str) -> str:
    return f"models/{manifest.name}/published/{manifest.version}/{name.partition('.v')[0]}.json"


def _record(store: Store, manifest: Manifest, name: str) -> dict[str, Any] | None:
    try:
        record = json.loads(store.get(_key(manifest, name)))
        return record if isinstance(record, dict) else None
    except (ObjectMissingError, ValueError):
        return None
