"""The publisher `mlflow`: a version as a run and as a registered model of a tracking server.

Every step looks first for what is there and adds what is not, so it can be broken off anywhere and
taken up again, and one version exists once. The run counts as finished when all else is there.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from annotated_types import Ge

from mnist_pipeline.errors import ConfigError, OutsideError
from mnist_pipeline.plugins import option
from mnist_pipeline.store.manifest import Manifest
from mnist_pipeline.store.publishers import FinishedVersion
from mnist_pipeline.store.registry import CHAMPION
from mnist_pipeline.tracking import entries
from mnist_pipeline.tracking.pyfunc import save_model
from mnist_pipeline.tracking.server import Server

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion

PAUSES = (1.0, 3.0)
"""Seconds before the second and the third try; there is no fourth."""

MOST_ENTRIES = 100
"""Parameters that MLflow takes at once; of metrics it takes more."""

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Mlflow:
    """Logs each version as a run, and registers it as a model, on an MLflow tracking server."""

    uri: str | None = option(None, "the server, http(s)://HOST:PORT; else MLFLOW_TRACKING_URI")
    experiment: str = option("", "the experiment that runs are logged in; else the model's name")
    timeout: Annotated[int, Ge(1)] = option(10, "seconds to wait for each answer of the server")

    def __post_init__(self) -> None:
        if self.uri is not None and Server.at(self.uri).credentials:
            raise ConfigError(
                "publish.mlflow.uri holds a password, which would be kept with every version",
                remedy="leave it out there, and set MLFLOW_TRACKING_USERNAME and _PASSWORD",
            )

    def publish(self, version: FinishedVersion) -> str:
        """See `Publisher.publish`; the address of the registered version's page.

        Raises:
            ConfigError: nothing says where the server is.
            OutsideError: MLflow is not installed, or the server does not take the version.
        """
        server = Server.named(self.uri)
        for pause in (*PAUSES, None):
            try:
                with server.client(self.timeout) as client:
                    number = self._put(client, version)
                name = version.manifest.name
                return f"{server.address}/#/models/{name}/versions/{number}"
            except OutsideError as error:
                if not error.transient or pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _put(self, client: MlflowClient, version: FinishedVersion) -> str:
        """Brings a server to where it has all of a version; its number there."""
        manifest = version.manifest
        experiment = _experiment(client, self.experiment or manifest.name)
        run = _run(client, experiment, version)
        registered = _registered(client, version)
        if registered is None or run.info.status != "FINISHED":
            model = _model(client, experiment, run, version)
            registered = registered or _register(client, run, model, version)
            _log(client, run, model, version)
            client.set_terminated(run.info.run_id, "FINISHED", entries.ended(manifest))
        if version.is_champion:
            client.set_registered_model_alias(manifest.name, CHAMPION, registered.version)
        return str(registered.version)


def _experiment(client: MlflowClient, name: str) -> str:
    """The id of an experiment, which is made where it is missing."""
    from mlflow.exceptions import RestException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except RestException as error:
            found = client.get_experiment_by_name(name)
            if found is None or error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    if found.lifecycle_stage != "active":
        raise OutsideError(
            f"the experiment {name!r} has been deleted on the tracking server",
            remedy=f"restore it: mlflow experiments restore -x {found.experiment_id}, "
            "or name another with publish.mlflow.experiment",
        )
    return str(found.experiment_id)


def _run(client: MlflowClient, experiment: str, version: FinishedVersion) -> Run:
    """The run of a version, which is begun where it is missing."""
    manifest = version.manifest
    found = client.search_runs([experiment], _is(manifest), order_by=["attributes.start_time"])
    return _first(found) or client.create_run(
        experiment,
        start_time=entries.began(manifest),
        tags={**entries.tags(manifest), "mlflow.note.content": entries.description(manifest)},
        run_name=f"{manifest.name}@{manifest.version}",
    )


def _registered(client: MlflowClient, version: FinishedVersion) -> ModelVersion | None:
    """The version in the server's registry, if it is there."""
    manifest = version.manifest
    return _first(client.search_model_versions(f"name = '{manifest.name}' and {_is(manifest)}"))


def _model(
    client: MlflowClient, experiment: str, run: Run, version: FinishedVersion
) -> LoggedModel:
    """The model of a run with all its files, which are put there where they are missing."""
    manifest = version.manifest
    found = _first(client.search_logged_models([experiment], _is(manifest)))
    if found and found.status == "READY":
        return found
    model = found or client.create_logged_model(
        experiment,
        name=manifest.name,
        source_run_id=run.info.run_id,
        tags=entries.tags(manifest),
        model_type=version.bundle.model,
    )
    with tempfile.TemporaryDirectory() as folder:
        saved = save_model(version, Path(folder), run.info.run_id, model.model_id)
        client.log_model_artifacts(model.model_id, str(saved))
    return client.finalize_logged_model(model.model_id, "READY")


def _register(
    client: MlflowClient, run: Run, model: LoggedModel, version: FinishedVersion
) -> ModelVersion:
    """Makes a model a version in the server's registry."""
    from mlflow.exceptions import RestException

    manifest = version.manifest
    try:
        client.create_registered_model(manifest.name)
    except RestException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.create_model_version(
        manifest.name,
        source=model.model_uri,
        run_id=run.info.run_id,
        tags=entries.tags(manifest),
        description=entries.description(manifest),
        await_creation_for=0,
        model_id=model.model_id,
    )


def _log(client: MlflowClient, run: Run, model: LoggedModel, version: FinishedVersion) -> None:
    """Parameters, metrics and files of a run; what is there already stays as it is."""
    from mlflow.entities import Metric, Param

    run_id, manifest, when = run.info.run_id, version.manifest, entries.ended(version.manifest)
    known: Mapping[str, Any] = run.data.params
    missing = [Param(k, v) for k, v in entries.parameters(manifest).items() if k not in known]
    for params in _cut(missing, MOST_ENTRIES):
        client.log_batch(run_id, params=params)
    metrics = [
        Metric(name, value, when, step, model.model_id)
        for name, value, step in entries.points(version)
    ]
    for some in _cut(metrics, MOST_ENTRIES):
        client.log_batch(run_id, metrics=some)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "manifest.json").write_bytes(manifest.to_bytes())
        (Path(folder) / "report.html").write_bytes(version.read("report.html"))
        client.log_artifacts(run_id, folder)


def _is(manifest: Manifest) -> str:
    """What to search for."""
    return f"tags.`{entries.IDENTITY}` = '{entries.identity(manifest)}'"


def _first(found: Sequence[T]) -> T | None:
    return found[0] if found else None


def _cut(whole: Sequence[T], most: int) -> list[Sequence[T]]:
    return [whole[start : start + most] for start in range(0, len(whole), most)]
