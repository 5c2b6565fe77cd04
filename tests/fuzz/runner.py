"""Mutated files by the thousand, each in a worker process that may crash or hang without harm."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import multiprocessing
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from examine import Outcome, examine, write
from idx_cases import IMAGES, LABELS, SOURCE, base
from mutations import FORMATS, Case, case

HANG_SECONDS = 60.0
"""Of wall clock: the machine may be busy; how much CPU a file may take is judged in the worker."""
ADDRESS_SPACE = 4 << 30
"""Bytes that a worker may ask for beyond what it has when it starts."""


class Worker:
    """A process that examines cases, replaced by another when one of them ends it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "crash.txt"
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        arguments = (theirs, self.folder / "case", self.log)
        self._process = self._context.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(300) or self._pipe.recv() != "ready":
            raise RuntimeError("the worker does not start")

    def examine(self, form: str, seed: int) -> Outcome:
        self._pipe.send((form, seed))
        if not self._pipe.poll(HANG_SECONDS):
            return self._replaced(f"hang: more than {HANG_SECONDS:.0f} s")
        try:
            outcome: Outcome = self._pipe.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode or 0
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            frames = re.findall(r'File "[^"]*?([^"/]+)", line (\d+)', self.log.read_text())
            where = " < ".join(f"{file}:{line}" for file, line in frames[:3])
            return self._replaced(f"crash: {name} at {where}")
        return outcome

    def _replaced(self, fault: str) -> Outcome:
        self.close()
        shutil.rmtree(self.folder / "case", ignore_errors=True)
        self._start()
        return Outcome(verdict="refused", headline="none: the process ended", faults=[fault])

    def close(self) -> None:
        self._process.kill()
        self._process.join()


def _work(pipe: Connection, folder: Path, log: Path) -> None:
    with log.open("w") as file:
        faulthandler.enable(file)
        warnings.simplefilter("error")  # a warning on a user's terminal explains nothing
        warnings.simplefilter("ignore", DeprecationWarning)
        # Whatever is imported on first use, and what a block of many rows takes once and for all.
        many = dict(zip((IMAGES, LABELS), base(9_000, 0), strict=True))
        for made in (Case("", many, SOURCE, None), *(case(form, 0) for form in FORMATS)):
            examine(made, folder)
        gc.freeze()
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = taken + ADDRESS_SPACE
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        pipe.send("ready")
        while True:
            pipe.send(examine(case(*pipe.recv()), folder))


@contextlib.contextmanager
def working() -> Iterator[Worker]:
    """A worker, and a folder for it that is gone afterwards."""
    # In memory where there is such a folder: fsync would be most of the time.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        worker = Worker(Path(folder))
        try:
            yield worker
        finally:
            worker.close()


def run(
    worker: Worker, form: str, seeds: Sequence[int], every: int
) -> Iterator[tuple[int, Outcome]]:
    """What became of the cases of some seeds; each `every`-th one also on the command line."""
    for seed in seeds:
        outcome = worker.examine(form, seed)
        if (seed + 1) % every == 0 and outcome.answer:
            outcome.faults += command_line(form, seed, outcome, worker.folder / "typed")
        yield seed, outcome


def command_line(form: str, seed: int, outcome: Outcome, folder: Path) -> Iterator[str]:
    """`mnist-pipeline validate SPEC --json` must end well and say the same."""
    source = write(case(form, seed), folder)
    program = "from mnist_pipeline.cli import entry_point; entry_point()"
    done = subprocess.run(
        [sys.executable, "-c", program, "validate", source, "--json"],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        cwd=folder,
    )
    shutil.rmtree(folder)
    expected = outcome.answer.get("error", {}).get("code", 0)
    if done.returncode != expected:
        yield f"exit code {done.returncode} of the command line, expected {expected}"
    if "Traceback" in done.stderr or "Warning" in done.stderr:
        yield f"traceback on stderr: {done.stderr.strip().splitlines()[-1]}"
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        yield f"traceback: stdout is no JSON: {done.stdout[:80]!r}"
        return
    if _without_paths(answer) != _without_paths(outcome.answer):
        yield "disagreement: the command line says something else than check"


def _without_paths(answer: dict[str, Any]) -> str:
    return re.sub(r'"(/[^"]*)"', '"PATH"', json.dumps(answer, sort_keys=True))
