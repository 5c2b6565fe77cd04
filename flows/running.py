"""What every flow needs around it: its log, and a server to talk to."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import ExternalSignal, PrefectException, PrefectSignal
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from mnist_pipeline.errors import OutsideError
from mnist_pipeline.guard import interrupted_by
from mnist_pipeline.reporting import Reporter, Step, listening

# How Prefect pauses, cancels and ends a run, whatever it is just doing.
interrupted_by(ExternalSignal, PrefectSignal, CancelledError)

_NO_HEARTBEATS = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
_REMEDY = (
    "start it with `prefect server start`, or mend PREFECT_API_URL (unset: a temporary server), "
    "or run without Prefect: --engine plain"
)


class RunLog:
    """Writes what a run tells into the log of its Prefect run, and passes it on."""

    def __init__(self, listener: Reporter) -> None:
        self._listener = listener

    def begin(self, stage: str, what: str) -> None:
        self._listener.begin(stage, what)

    def step(self, step: Step) -> None:
        self._listener.step(step)

    def end(self, stage: str, result: str, seconds: float, *, reused: bool) -> None:
        get_run_logger().info("%s: %s (%.2f s)", stage, result, seconds)
        self._listener.end(stage, result, seconds, reused=reused)

    def note(self, text: str) -> None:
        get_run_logger().info("%s", text)
        self._listener.note(text)


@contextmanager
def running_here(reporter: Reporter) -> Iterator[None]:
    """Inside, a flow runs in this process and tells `reporter` how it goes.

    Without heartbeats: somebody is watching, and joining their thread would cost a second.

    Raises:
        OutsideError: the server cannot be reached.
    """
    with listening(reporter), temporary_settings(_NO_HEARTBEATS):
        check_server()
        try:
            yield
        except (httpx.HTTPError, PrefectException) as error:
            raise _no_server(error) from error


def check_server(remedy: str = _REMEDY) -> None:
    """Reaches the server, or starts the temporary one, before anything else is tried.

    Raises:
        OutsideError: it cannot be reached.
    """
    failure: Exception | None
    try:
        with get_client(sync_client=True) as client:
            failure = client.api_healthcheck()
    except (httpx.HTTPError, httpx.InvalidURL, PrefectException, RuntimeError, ValueError) as error:
        failure = error
    if failure is not None:
        raise _no_server(failure, remedy)


def _no_server(error: Exception, remedy: str = _REMEDY) -> OutsideError:
    url = urlsplit(PREFECT_API_URL.value() or "")
    return OutsideError(
        "the Prefect server cannot be reached",
        url=f"{url.scheme}://{url.hostname}:{url.port}{url.path}" if url.hostname else url.path,
        cause=f"{type(error).__name__}: {error}".partition("\n")[0],
        remedy=remedy,
    )
