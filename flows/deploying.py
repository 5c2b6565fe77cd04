"""Registering what runs when: the work pool, the deployments, the automations.

Entry points are modules (`flows.training.training_flow`): they load wherever the package is
installed, while paths of files would mean something in one folder only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import WorkerFilter, WorkerFilterStatus
from prefect.deployments.steps.core import StepExecutionError, run_steps
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.settings import PREFECT_API_URL, PREFECT_HOME

from flows.alarms import TELLS, set_alarms
from flows.parameters import FOLDER, WORKSPACE
from flows.running import check_server
from flows.schedule import Planned, planned
from mnist_pipeline.errors import ConfigError, OutsideError, PipelineError, shortened
from mnist_pipeline.tell import WEBHOOK

FILE = Path("deployments", "prefect.yaml")
LEASES = "prefect.server.concurrency.lease_storage.filesystem"
START = (
    "start it with `prefect server start --background`, and say where it is with `prefect config "
    "set PREFECT_API_URL=http://127.0.0.1:4200/api`"
)
_PID_FILE = "server.pid"
SECONDS_TO_START = 60
SECONDS_TO_PLAN = 30
"""A server looks for new deployments every five seconds."""


def deploy(
    file: Path, *, workspace: str | None, folder: Path, every: float | None = None
) -> dict[str, Any]:
    """Registers all that a `prefect.yaml` names; what is registered already is replaced.

    Args:
        file: the `prefect.yaml`; the TOML files that it names lie beside it.
        workspace: a folder or a URL; `workspace` in `folder` if it is left out.
        folder: where runs work, and what their relative paths mean.
        every: seconds: an interval instead of each schedule, to try it.

    Returns:
        The answer of `mnist-pipeline deploy --json`.

    Raises:
        OutsideError: there is no server, or it refuses.
        ConfigError: a file cannot be read, or is wrong.
    """
    _await_server()
    document = _document(file, every)
    names = {FOLDER: str(folder), **({WORKSPACE: workspace} if workspace else {})}
    with _environment(names):
        outputs = _outputs(document, file.parent)
        try:
            with get_client(sync_client=True) as client:
                notes = _make_pools(client, document)
                _register(document, file.parent)
                alarms = set_alarms(client)
                return _told(client, document, outputs, alarms, notes)
        except (httpx.HTTPError, PrefectException) as error:
            raise _refused(str(error)) from error


def _await_server() -> None:
    """Reaches the server; one that has just been started in the background is waited for.

    Raises:
        OutsideError: there is none.
    """
    if PREFECT_API_URL.value() is None:
        raise OutsideError("there is no Prefect server to deploy to", remedy=START)
    end = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            return check_server(START)
        except OutsideError:
            if not _is_starting() or time.monotonic() > end:
                raise
            time.sleep(0.5)


def _is_starting() -> bool:
    """Whether `prefect server start --background` has left a process."""
    try:
        pid = int((PREFECT_HOME.value() / _PID_FILE).read_text())
    except (OSError, ValueError):
        return False
    return Path(f"/proc/{pid}").exists()


def _document(file: Path, every: float | None) -> dict[str, Any]:
    """What a `prefect.yaml` says, with every schedule replaced by an interval if one is given."""
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            "the deployments cannot be read",
            file=str(file),
            cause=error.strerror,
            remedy="name another prefect.yaml with --file; the project has one in deployments/",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            "the deployments are not valid YAML",
            file=str(file),
            cause=" ".join(str(error).split()),
            remedy="mend the line named above",
        ) from None
    known = isinstance(document, dict) and document.get("deployments")
    if not isinstance(known, list) or not all(_is_deployment(spec) for spec in known):
        raise ConfigError(
            "the file does not list deployments",
            file=str(file),
            expected="deployments, each with name, entrypoint and work_pool.name",
            remedy="deployments/prefect.yaml of the project is an example",
        )
    for spec in known:
        if every is not None:
            active = [schedule.get("active", True) for schedule in spec.get("schedules", [])]
            spec["schedules"] = [{"interval": every, "active": each} for each in active[:1]]
    return dict(document)


def _is_deployment(spec: Any) -> bool:
    try:
        words = (spec["name"], spec["entrypoint"], spec["work_pool"]["name"])
    except (KeyError, TypeError):
        return False
    return all(isinstance(word, str) for word in words)


def _outputs(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the build steps return; Prefect would wrap their errors into a traceback."""
    try:
        with contextlib.chdir(folder):
            return asyncio.run(run_steps(document.get("build") or [], print_function=_silent))
    except StepExecutionError as error:
        if isinstance(error.__cause__, PipelineError):
            raise error.__cause__ from None
        raise ConfigError(
            "a build step of the deployments failed",
            cause=f"{error} {error.__cause__ or ''}".strip(),
            remedy="deployments/prefect.yaml of the project is an example",
        ) from None


def _silent(*_: Any, **__: Any) -> None: ...


def _make_pools(client: SyncPrefectClient, document: Mapping[str, Any]) -> list[str]:
    """Makes the work pools that are not there yet; says what is odd about those that are."""
    notes = []
    for name in _pools(document):
        try:
            pool = client.read_work_pool(name)
        except ObjectNotFound:
            pool = client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        if pool.type != "process":
            notes.append(f"the work pool {name!r} is of type {pool.type!r}, not 'process'")
        if pool.is_paused:
            notes.append(f"the work pool is paused: prefect work-pool resume {name}")
    return notes


def _pools(document: Mapping[str, Any]) -> list[str]:
    return sorted({spec["work_pool"]["name"] for spec in document["deployments"]})


def _register(document: Mapping[str, Any], folder: Path) -> None:
    """`prefect deploy --all`, in the folder of the file.

    Raises:
        OutsideError: Prefect refuses; with its words.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as copy:
        yaml.safe_dump(dict(document), copy)
        copy.flush()
        words = ["--no-prompt", "deploy", "--all", "--prefect-file", copy.name]
        done = subprocess.run(  # noqa: S603 (our own words)
            [sys.executable, "-m", "prefect", *words],
            cwd=folder,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "400"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise _refused(" ".join(lines[-3:]))


def _refused(cause: str) -> OutsideError:
    return OutsideError(
        "Prefect does not take the deployments",
        cause=shortened(cause, 600),
        remedy="mend the file that --file names, or the server, and deploy again: what was "
        "registered is replaced",
    )


def _told(
    client: SyncPrefectClient,
    document: Mapping[str, Any],
    outputs: Mapping[str, Any],
    alarms: Sequence[str],
    notes: Sequence[str],
) -> dict[str, Any]:
    """What is registered now, when it runs next, and what is missing still."""
    missing = list(notes)
    online = WorkerFilter(status=WorkerFilterStatus(any_=["ONLINE"]))
    for pool in _pools(document):
        if not client.read_workers_for_work_pool(pool, worker_filter=online):
            missing.append(f"no worker is online: prefect worker start --pool {pool}")
    if reason := outputs.get("scoring", {}).get("missing"):
        missing.append(f"nothing to score yet ({reason}): deploy again when there is")
    if TELLS not in alarms:
        missing.append(f"nobody would be told of a failure: set {WEBHOOK}, for the worker too")
    if not _keeps_leases(client):
        missing.append(
            "the server forgets who holds a slot when it is restarted, and stops long nights: "
            f"prefect config set PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE={LEASES}, restart it"
        )
    return {
        "server": PREFECT_API_URL.value(),
        **outputs.get("place", {}),
        "work_pools": _pools(document),
        "deployments": [plan.to_json() for plan in _plans(client)],
        "automations": list(alarms),
        "missing": missing,
    }


def _keeps_leases(client: SyncPrefectClient) -> bool:
    """Whether the server writes down who holds a slot; yes where it does not tell."""
    try:
        answer = client.request("GET", "/admin/settings")
    except httpx.HTTPStatusError:
        return True
    storage = answer.json().get("server", {}).get("concurrency", {}).get("lease_storage", "")
    return not str(storage).endswith(".memory")


def default_file() -> Path:
    """`deployments/prefect.yaml` of the folder one is in, else of the project."""
    here = Path.cwd() / FILE
    return here if here.exists() else Path(__file__).parents[1] / FILE


def _plans(client: SyncPrefectClient) -> list[Planned]:
    """The deployments, each with its next run.

    Raises:
        OutsideError: the server makes no runs.
    """
    end = time.monotonic() + SECONDS_TO_PLAN
    while True:
        plans = planned(client)
        late = [plan.deployment for plan in plans if plan.active and plan.next is None]
        if not late:
            return plans
        if time.monotonic() > end:
            raise OutsideError(
                "the Prefect server plans no runs",
                deployments=", ".join(late),
                remedy="look into its log: SQLAlchemy 2.1 stops its scheduler, for one; "
                "`pip install -c constraints.txt` gives versions that work",
            )
        time.sleep(0.5)


@contextlib.contextmanager
def _environment(names: Mapping[str, str]) -> Iterator[None]:
    """Inside, the environment has these variables too."""
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
