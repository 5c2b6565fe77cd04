"""A training in a process of its own: it tells how it goes, and ends with whoever started it.

Started by hand and not by `multiprocessing`, whose children import the main module of their parent
anew: a script without `if __name__ == "__main__"` would start itself again. Images are mapped from
files, so that processes share them; everything else goes through a pipe.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import traceback
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

import numpy as np

from mnist_pipeline.errors import OutsideError, PipelineError, explained
from mnist_pipeline.model.batches import Images, Labels
from mnist_pipeline.model.checkpoint import Checkpoint
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.progress import Progress, TrainingResult
from mnist_pipeline.model.recipe import Recipe
from mnist_pipeline.model.trainer import train

Message = Progress | Checkpoint | TrainingResult | PipelineError

START = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from mnist_pipeline.model.worker import work; work(int(sys.argv[1]))"
)
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclasses.dataclass(frozen=True)
class Task:
    """The arguments of `trainer.train`, rows as the folder that `save_rows` has filled.

    Attributes:
        started: when the whole began that it is a part of, see `trainer.train`.
        checkpoint: what it goes on from.
    """

    model: Model
    rows: Path
    normalizer: FittedNormalizer
    recipe: Recipe
    classes: int
    shape: tuple[int, int] | None
    threads: int
    started: float
    checkpoint: Checkpoint | None


def save_rows(
    folder: Path, rows: tuple[Images, Labels], validation: tuple[Images, Labels] | None
) -> None:
    """Writes images and labels where workers map them into their memory."""
    for name, pair in (("train", rows), ("validation", validation)):
        for what, array in zip(("images", "labels"), pair or (), strict=False):
            np.save(folder / f"{name}-{what}.npy", array)


def _load_rows(folder: Path, name: str) -> tuple[Images, Labels] | None:
    paths = [folder / f"{name}-{what}.npy" for what in ("images", "labels")]
    if not paths[0].exists():
        return None
    images, labels = (np.load(path, mmap_mode="r") for path in paths)
    return images, labels


class Worker:
    """A child process at work on a task.

    Attributes:
        connection: readable whenever there is something to `receive`.

    Raises:
        OutsideError: the system starts no more processes.
    """

    def __init__(self, task: Task) -> None:
        self.connection, theirs = Pipe()
        descriptor = theirs.fileno()
        command = [sys.executable, "-c", START, str(descriptor), *sys.path]
        try:
            self._process = subprocess.Popen(  # noqa: S603 (our own words)
                command,
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a plugin prints is none of the program's answers
                pass_fds=(descriptor,),
                env=os.environ | dict.fromkeys(THREADS, "1"),
                process_group=0,  # Ctrl-C is the parent's business
            )
        except OSError as error:
            self.connection.close()
            raise OutsideError(
                "the system starts no more processes",
                cause=error.strerror,
                remedy="free memory or processes, and run it again",
            ) from None
        finally:
            theirs.close()
        with contextlib.suppress(OSError):  # if it is dead already, `receive` says so
            self.connection.send(task)

    def receive(self) -> Message:
        """What it says next; its death is an error too."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            code = self._process.wait()
            ended = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            return OutsideError(
                "the process of a training was killed",
                by=ended,
                remedy="if memory ran out, free some; then run it again: it goes on from its "
                "last checkpoint",
            )
        return message

    def end(self) -> None:
        """Ends it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self.connection.close()


class _Home:
    """Where a child's words go: to the parent, who keeps its checkpoints too."""

    def __init__(self, connection: Connection, first: Checkpoint | None) -> None:
        self._connection, self._first = connection, first

    def tell(self, message: Message) -> None:
        try:
            self._connection.send(message)
        except OSError:  # nobody listens any more
            os._exit(1)

    def load(self) -> Checkpoint | None:
        return self._first

    def save(self, checkpoint: Checkpoint) -> None:
        self.tell(checkpoint)


def work(descriptor: int) -> None:
    """What the child does: the task that its parent sends, telling it how that goes."""
    # Service managers signal whole groups: it is the parent that decides, and then kills.
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    connection = Connection(descriptor)
    try:
        task: Task = connection.recv()
    except EOFError:
        return
    threading.Thread(target=_end_with_parent, args=(connection,), daemon=True).start()
    home = _Home(connection, task.checkpoint)
    message: Message
    try:
        rows = _load_rows(task.rows, "train")
        assert rows is not None, "the parent saves rows before it starts a worker"
        message = train(
            task.model,
            *rows,
            task.normalizer,
            task.recipe,
            classes=task.classes,
            shape=task.shape,
            validation=_load_rows(task.rows, "validation"),
            progress=home.tell,
            checkpoints=home,
            threads=task.threads,
            started=task.started,
        )
    except Exception as error:
        if not isinstance(error, PipelineError):
            traceback.print_exc()
        message = explained(error)
    home.tell(message)


def _end_with_parent(connection: Connection) -> None:
    """Ends this process at once when its parent is gone: it never says anything any more."""
    try:
        connection.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
