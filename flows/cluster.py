"""Tasks on a Dask cluster: an extra, so nothing here imports Dask before it is asked for."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

from prefect.task_runners import TaskRunner

from mnist_pipeline.errors import ConfigError, OutsideError
from mnist_pipeline.reporting import Reporter

SECONDS_TO_CONNECT = 10


def dask_runner(address: str) -> TaskRunner[Any]:
    """Runs a flow's tasks on the workers of a Dask scheduler.

    Raises:
        ConfigError: this is no address.
        OutsideError: Dask is not installed.
    """
    _host_and_port(address)
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ModuleNotFoundError:
        raise OutsideError(
            "Dask is not installed", remedy="pip install 'mnist-pipeline[dask]'"
        ) from None
    return DaskTaskRunner(address=address)


def check_dask(address: str, reporter: Reporter) -> None:
    """Reaches the scheduler, before anything else is tried; tells if nobody works for it.

    Raises:
        OutsideError: it cannot be reached.
    """
    from distributed import Client

    try:
        socket.create_connection(_host_and_port(address), SECONDS_TO_CONNECT).close()
        with Client(  # type: ignore[no-untyped-call]
            address, timeout=SECONDS_TO_CONNECT, set_as_default=False
        ) as client:
            if not client.scheduler_info()["workers"]:
                reporter.note(f"there is no Dask worker at {address} yet: waiting for one")
    except OSError as error:
        raise no_dask(address, error) from error


def is_of_dask(error: Exception) -> bool:
    """Whether the cluster failed, not what ran on it."""
    return type(error).__module__.startswith("distributed.")


def no_dask(address: str | None, error: Exception) -> OutsideError:
    """The error for a cluster that cannot be reached, or not any more."""
    return OutsideError(
        "the Dask cluster cannot be reached",
        address=address,
        cause=f"{type(error).__name__}: {error}".partition("\n")[0],
        remedy="check its scheduler and workers (`dask scheduler`, `dask worker ADDRESS`), then "
        "score again: what is there is not done twice",
    )


def _host_and_port(address: str) -> tuple[str, int]:
    try:
        url = urlsplit(address)
        if url.scheme in ("tcp", "tls") and url.hostname and url.port:
            return url.hostname, url.port
    except ValueError:
        pass
    raise ConfigError(
        f"{address!r} is not the address of a Dask scheduler",
        remedy="for example tcp://127.0.0.1:8786; `dask scheduler` prints its own",
    )
