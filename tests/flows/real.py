"""A real Prefect server and process workers on loopback, to be killed and started again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
LEASES = "prefect.server.concurrency.lease_storage.filesystem"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: Callable[[], Any], seconds: float = 180, pause: float = 0.25) -> Any:
    """What a function returns as soon as that is something."""
    end = time.monotonic() + seconds
    while (found := what()) is None or found is False or found == []:
        assert time.monotonic() < end, "waited in vain"
        time.sleep(pause)
    return found


def kill(pid: int) -> None:
    """-9 for a process and all that descend from it."""
    for each in (pid, *descendants(pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Children, grandchildren and so on."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


class Prefect:
    """A server, the environment that leads to it, and what is started with that.

    Args:
        home: a folder of its own.
        settings: more environment variables, for the server and for everybody.
    """

    def __init__(self, home: Path, **settings: str) -> None:
        self.home, self.port = home, free_port()
        home.mkdir(parents=True, exist_ok=True)
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MNIST_PIPE"))},
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            **settings,
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self.server: subprocess.Popen[bytes] | None = None

    def start(self, name: str, *words: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        """`python -m prefect WORDS`, in a session of its own, logging to `<name>.log`."""
        with (self.home / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "prefect", *words],
                env=self.environment,
                cwd=cwd or self.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def start_server(self) -> None:
        where = ("--host", "127.0.0.1", "--port", str(self.port))
        self.server = self.start("server", "server", "start", *where)
        wait_for(self._healthy, 120)

    def kill_server(self) -> None:
        assert self.server
        kill(self.server.pid)
        self.server.wait()

    def start_worker(self, cwd: Path) -> subprocess.Popen[bytes]:
        return self.start("worker", "worker", "start", "--pool", "mnist-pipeline", cwd=cwd)

    def run(self, *words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """`mnist-pipeline WORDS` in a folder."""
        script = "import sys; from mnist_pipeline.cli import main; sys.exit(main(sys.argv[1:]))"
        return subprocess.run(
            [sys.executable, "-c", script, *words],
            env=self.environment | environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )

    def deploy(self, *words: str, cwd: Path, **environment: str) -> dict[str, Any]:
        """What `mnist-pipeline deploy --json` answers."""
        done = self.run("deploy", "--json", *words, cwd=cwd, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    def get(self, path: str) -> Any:
        return self._ask("GET", path)

    def post(self, path: str, **body: Any) -> Any:
        return self._ask("POST", path, json=body)

    def delete_deployment(self, name: str) -> None:
        """Nothing of it is due any more."""
        deployment = self.get(f"deployments/name/{name}")["id"]
        self._ask("DELETE", f"deployments/{deployment}")

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        def answer() -> Any:
            found = httpx.request(method, f"{self.url}/{path}", trust_env=False, timeout=30, **more)
            # SQLite has one writer: a server that is busy asks to be asked again.
            return None if found.status_code == 503 else found

        answered = wait_for(answer)
        assert answered.is_success, answered.text
        return answered.json() if answered.content else None

    def runs(self, flow: str, *states: str) -> list[dict[str, Any]]:
        """The scheduled runs of a flow in one of some states, in the order they are due."""
        found = self.post(
            "flow_runs/filter",
            flows={"name": {"any_": [flow]}},
            flow_runs={"state": {"name": {"any_": list(states)}}},
            sort="EXPECTED_START_TIME_ASC",
        )
        return [run for run in found if run["auto_scheduled"]]

    def _healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def clear(self) -> None:
        """Kills whatever works for the server, and leaves it no deployment."""
        for process in self._processes:
            if process is not self.server:
                kill(process.pid)
                process.wait()
        for deployment in self.post("deployments/filter"):
            self._ask("DELETE", f"deployments/{deployment['id']}")

    def stop(self) -> None:
        """Kills whatever it has started."""
        for process in reversed(self._processes):
            kill(process.pid)
            process.wait()
