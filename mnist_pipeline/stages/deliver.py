"""Deliver: a version that is in the registry goes where else the configuration wants it.

After the verdict, and also where nothing has changed: what did not arrive last time is made up for.
Nothing that happens here undoes or stops anything.
"""

from __future__ import annotations

import copy
import dataclasses

from mnist_pipeline.errors import PipelineError
from mnist_pipeline.stages.publish import Outcome
from mnist_pipeline.stages.resolve import publishers_of
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store import publishers
from mnist_pipeline.store.manifest import Manifest
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.publishers import Delivery, finished_version
from mnist_pipeline.store.registry import Registry


def deliver(run: Run, outcome: Outcome) -> tuple[Delivery, ...]:
    """Has every publisher of the configuration publish the version of a run.

    Returns:
        What came of it, in the order of `publish.to`; nothing if there is no version.
    """
    wanted = publishers_of(run.config)
    if outcome.version is None or not wanted:
        return ()
    with run.timed("publish", ", ".join(wanted)) as words:
        manifest = Registry(run.store).manifest(run.config.name, outcome.version)
        version_name = f"{manifest.name}@{manifest.version}"
        try:
            version = finished_version(run.store, manifest)
        except PipelineError as error:
            found = [Delivery(name, error=error) for name in wanted]
        else:
            found = [
                publishers.delivered(version, name, publisher)
                or publishers.deliver(version, name, publisher)
                for name, publisher in wanted.items()
            ]
        words += [delivery.words for delivery in found]
        return tuple(_with_remedy(delivery, version_name) for delivery in found)


def deliver_again(store: Store, manifest: Manifest) -> tuple[Delivery, ...]:
    """Has a version that was made champion by hand published once more wherever it went before.

    A publisher may have to move what it calls the champion, also back to a version it knows.
    """
    found = []
    for record in publishers.deliveries(store, manifest):
        name = str(record["to"])
        try:
            _, publisher = publishers.publisher_for(store, manifest, name)
            delivery = publishers.deliver(finished_version(store, manifest), name, publisher)
        except PipelineError as error:
            delivery = Delivery(name, error=error)
        found.append(_with_remedy(delivery, f"{manifest.name}@{manifest.version}"))
    return tuple(found)


def _with_remedy(delivery: Delivery, reference: str) -> Delivery:
    """The same; if it failed, with the command that does it later."""
    if delivery.error is None:
        return delivery
    error, to = copy.copy(delivery.error), delivery.to.partition(".v")[0]
    later = f"`mnist-pipeline models publish {reference} --to {to}` does it later"
    error.remedy = f"{error.remedy}; {later}" if error.remedy else later
    return dataclasses.replace(delivery, error=error)
