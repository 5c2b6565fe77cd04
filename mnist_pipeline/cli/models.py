"""`mnist-pipeline models`: what was published, and which version is champion."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from mnist_pipeline.cli.console import Console, global_options
from mnist_pipeline.errors import ConfigError, IntegrityError, OutsideError, did_you_mean

if TYPE_CHECKING:
    from mnist_pipeline.store.manifest import Manifest
    from mnist_pipeline.store.objects import Store
    from mnist_pipeline.store.registry import Registry


@click.group()
@global_options
def models() -> None:
    """List, show, verify, promote, roll back, export and pass on published versions."""


@models.command("list")
@click.argument("name", required=False)
@global_options
@click.pass_obj
def list_models(console: Console, name: str | None) -> None:
    """Every version of every model (or of NAME), oldest first."""
    from mnist_pipeline.store.objects import WorkspaceMissingError
    from mnist_pipeline.store.registry import Registry

    try:
        registry = Registry(console.store(writable=False))
        names = registry.names()
    except WorkspaceMissingError:
        names = []
    if name and name not in names:
        raise ConfigError(f"there is no model called {name!r}", remedy=did_you_mean(name, names))
    rows = [info for each in names if name in (None, each) for info in registry.versions(each)]

    def show() -> None:
        if not rows:
            click.echo(f"no versions in {console.workspace} yet; `mnist-pipeline train` makes one")
            return
        console.table(
            ["model", "created", "accuracy", "status", "channels"],
            [
                (
                    f"{row.name}@{row.version}",
                    row.created,
                    "" if row.accuracy is None else f"{row.accuracy:.2%}",
                    row.status,
                    ", ".join(row.channels),
                )
                for row in rows
            ],
        )

    console.result({"versions": [row.to_json() for row in rows]}, show)


@models.command()
@click.argument("reference", metavar="NAME[@VERSION]")
@global_options
@click.pass_obj
def show(console: Console, reference: str) -> None:
    """Everything about one version: verdict, metrics, cost, lineage, files, its reign."""
    from mnist_pipeline.evaluate.metrics import cost_in_words
    from mnist_pipeline.store.publishers import deliveries
    from mnist_pipeline.store.registry import Registry

    registry = Registry(console.store(writable=False))
    manifest = registry.find(reference)
    data = json.loads(manifest.to_bytes())
    history = [
        {"sequence": entry.sequence, **entry.value}
        for entry in registry.champions(manifest.name).history()
        if entry.value["version"] == manifest.version
    ]
    data["champion"] = history
    data["published"] = deliveries(registry.store, manifest)

    def describe() -> None:
        click.secho(f"{manifest.name}@{manifest.version}", bold=True)
        click.echo(f"  created   {manifest.created} by run {manifest.run}")
        click.echo(f"  verdict   {manifest.verdict['status']}")
        for reason in manifest.verdict["reasons"]:
            click.echo(f"            {reason}")
        for name, value in manifest.metrics.items():
            click.echo(f"  {name:<9} {value:,}" if name == "n" else f"  {name:<9} {value:.4f}")
        if manifest.cost:
            click.echo(f"  cost      {cost_in_words(manifest.cost)}")
        click.echo(f"  data set  {manifest.dataset}")
        click.echo(f"  exam      {manifest.exam}")
        for entry in history:
            click.echo(f"  champion  since {entry['since']} ({entry['by']}): {entry['reason']}")
        for record in data["published"]:
            what = record["where"] if record["ok"] else f"FAILED: {record['error']['headline']}"
            click.echo(f"  published {record['when']} to {record['to']}: {what}")
        click.echo(f"  files     {', '.join(manifest.files)}")

    console.result(data, describe)


@models.command()
@click.argument("references", nargs=-1, metavar="[NAME[@VERSION]]…")
@global_options
@click.pass_obj
def verify(console: Console, references: tuple[str, ...]) -> int:
    """Check digests, contract and golden answers of versions (default: all). Exit code 5 if not."""
    from mnist_pipeline.store.bundles import why_unusable
    from mnist_pipeline.store.registry import Registry

    registry = Registry(console.store(writable=False))
    if references:
        manifests = [registry.find(reference) for reference in references]
        wanted = [(manifest.name, manifest.version) for manifest in manifests]
    else:
        wanted = [pair for name in registry.names() for pair in _to_verify(registry, name)]
    checked = [
        (name, version, why_unusable(registry.store, name, version)) for name, version in wanted
    ]

    def show_rows() -> None:
        for name, version, error in checked:
            click.echo(f"{name}@{version}: {'ok' if error is None else f'FAILED: {error}'}")

    rows = [
        {
            "name": name,
            "version": version,
            "ok": error is None,
            "error": error.to_json() if error else None,
        }
        for name, version, error in checked
    ]
    console.result({"versions": rows}, show_rows)
    return max((error.exit_code for *_, error in checked if error), default=0)


def _to_verify(registry: Registry, name: str) -> list[tuple[str, int]]:
    """Every visible version, and the champion even where its manifest is gone."""
    versions = {info.version for info in registry.versions(name)}
    if champion := registry.champion(name):
        versions.add(champion.value["version"])
    return [(name, version) for version in sorted(versions)]


@models.command()
@click.argument("reference", metavar="NAME@VERSION")
@click.option("--reason", required=True, help="Why; it is kept for ever.")
@global_options
@click.pass_obj
def promote(console: Console, reference: str, reason: str) -> int:
    """Make a version champion by hand, whatever the gate said; it is verified first.

    Publishers that have the version are told.
    """
    from mnist_pipeline.overview.page import write_index
    from mnist_pipeline.store.bundles import verify_version
    from mnist_pipeline.store.registry import Registry

    if not reason.strip():
        raise ConfigError("a promotion by hand needs a reason", remedy="say why with --reason")
    registry = Registry(console.store())
    manifest = registry.find(reference)
    verify_version(console.store(), manifest)
    while True:
        seen = registry.champion(manifest.name)
        entry = registry.promote(manifest.name, manifest.version, reason, after=seen, by_hand=True)
        if entry:
            break
    write_index(registry.store)
    previous = seen.value["version"] if seen else None
    data = {"model": manifest.name, "version": manifest.version, "previous": previous}
    text = f"{manifest.name}@{manifest.version} is champion (before: {previous})"
    return _told_publishers(console, manifest, data, text)


@models.command()
@click.argument("name")
@click.option("--reason", default="rolled back by hand", help="Why; it is kept for ever.")
@global_options
@click.pass_obj
def rollback(console: Console, name: str, reason: str) -> int:
    """Make the champion before the present one champion again; it is verified first.

    Publishers that have the version are told.
    """
    from mnist_pipeline.overview.page import write_index
    from mnist_pipeline.store.bundles import verify_version
    from mnist_pipeline.store.registry import Registry

    registry = Registry(console.store())
    before = registry.manifest(name, registry.before_champion(name))
    verify_version(registry.store, before)
    seen = registry.champion(name)
    version = registry.rollback(name, reason).value["version"]
    write_index(registry.store)
    previous = seen.value["version"] if seen else None
    data = {"model": name, "version": version, "previous": previous}
    text = f"{name}@{version} is champion again (before: {previous})"
    return _told_publishers(console, registry.manifest(name, version), data, text)


def _told_publishers(console: Console, manifest: Manifest, data: dict[str, Any], text: str) -> int:
    """The result of a promotion, after the publishers that have the version were told of it."""
    from mnist_pipeline.stages.deliver import deliver_again

    told = deliver_again(console.store(), manifest)
    data["published"] = [delivery.to_json() for delivery in told]
    lines = [text]
    for delivery in told:
        lines.append(delivery.words)
        if delivery.error and delivery.error.remedy:
            lines.append(f"  → {delivery.error.remedy}")
    console.result(data, "\n".join(lines))
    return 0 if all(delivery.ok for delivery in told) else OutsideError.exit_code


@models.command()
@click.argument("reference", metavar="NAME[@VERSION]")
@click.option("--to", "name", required=True, metavar="PUBLISHER", help="Where to, e.g. mlflow.")
@click.option("--set", "settings", multiple=True, metavar="OPTION=VALUE", help="Of the publisher.")
@global_options
@click.pass_obj
def publish(console: Console, reference: str, name: str, settings: tuple[str, ...]) -> int:
    """Put a version somewhere else too; it is verified first, and doing it again is harmless.

    Options of the publisher are those that the version went there with, or should have; --set
    changes one. `mnist-pipeline plugins show PUBLISHER` lists them.
    """
    from mnist_pipeline.configfile import parse_setting
    from mnist_pipeline.store.publishers import deliver, finished_version, publisher_for
    from mnist_pipeline.store.registry import Registry

    options: dict[str, Any] = {}
    for setting in settings:
        options |= parse_setting(setting)
    store = console.store()
    manifest = Registry(store).find(reference)
    resolved, publisher = publisher_for(store, manifest, name, options)
    delivery = deliver(finished_version(store, manifest), resolved, publisher, wanted=False)
    if delivery.error:
        raise delivery.error
    data = {"model": manifest.name, "version": manifest.version, **delivery.to_json()}
    console.result(data, f"{manifest.name}@{manifest.version} {delivery.words}")
    return 0


def _has_exam(store: Store, name: str) -> bool:
    """Whether a model name has an exam; a damaged record counts, choosing is the way out of it."""
    from mnist_pipeline.store.exams import exam_of

    try:
        return exam_of(store, name) is not None
    except IntegrityError:
        return True


@models.group()
@global_options
def exam() -> None:
    """Which rows a model name is judged on."""


@exam.command("set")
@click.argument("name")
@click.argument("digest")
@click.option("--reason", required=True, help="Why; it is kept with the exam.")
@global_options
@click.pass_obj
def set_exam(console: Console, name: str, digest: str, reason: str) -> None:
    """Judge NAME on another exam from now on: the one whose DIGEST a held run has named."""
    from mnist_pipeline.store.exams import offered_exam
    from mnist_pipeline.store.exams import set_exam as choose
    from mnist_pipeline.store.registry import Registry, parse_reference

    store = console.store()
    if parse_reference(name) != (name, None) or not _has_exam(store, name):
        raise ConfigError(
            f"there is no model called {name!r} that has an exam",
            remedy=did_you_mean(name, Registry(store).names()),
        )
    offered = offered_exam(store, digest)
    if offered is None:
        raise ConfigError(
            f"there is no exam {digest!r}, or several",
            remedy="give 12 digits: a run that is held for exam_changed names its exam",
        )
    if not store.verifies(offered.data):
        raise IntegrityError(
            f"the rows of exam {digest!r} are not what they were",
            key=offered.data.key,
            remedy="run the training that brought it again",
        )
    chosen = choose(store, name, offered, reason)
    data = {"model": name, "exam": chosen.digest, "rows": chosen.data.rows, "reason": reason}
    console.result(data, f"{name} is judged on exam {chosen.digest[:12]} from now on")
