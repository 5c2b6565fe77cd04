"""What every stage is given, and how a finished stage is remembered."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from mnist_pipeline.config import Config
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import PipelineError
from mnist_pipeline.plugins import blamed
from mnist_pipeline.refs import Ref, readable_json
from mnist_pipeline.reporting import Reporter, Silent
from mnist_pipeline.store.memo import StageResult, recall, remember, stage_key
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.owner import Owner
from mnist_pipeline.store.survey import AT_WORK
from mnist_pipeline.store.together import ReadAhead

Stage = Literal["ingest", "validate", "inspect", "normalize", "train", "evaluate", "publish"]
STAGES: tuple[Stage, ...] = get_args(Stage)

Made = tuple[Mapping[str, Ref], Mapping[str, Any], str]
"""What the body of a stage returns: outputs, facts, and a few words for the terminal."""


@dataclasses.dataclass
class Run:
    """One run of the pipeline: where it works, on what, and who listens.

    Attributes:
        store: the workspace.
        config: the resolved configuration.
        id: unique, sorts by time.
        force: the first stage that is done again whatever is remembered, or None.
        verify: whether the bytes of all files are looked at, however unchanged they seem.
        recorded: whether its stages are written down; False for what is no run of the pipeline.
        reporter: who is told.
        seconds: wall-clock seconds by stage, as they finish.
        profile: what the training did with its time, see `model.profile.Profile`; empty before it.
    """

    store: Store
    config: Config
    id: str = dataclasses.field(default_factory=lambda: new_run_id())
    force: Stage | None = None
    verify: bool = False
    recorded: bool = True
    reporter: Reporter = dataclasses.field(default_factory=Silent)
    contract: ImageContract = dataclasses.field(default_factory=ImageContract)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    profile: dict[str, Any] = dataclasses.field(default_factory=dict)
    _records: int = 0

    def key(self, name: str) -> str:
        """The store key of an object of this run."""
        return f"runs/{self.id}/{name}"

    def forced(self, stage: Stage) -> bool:
        """Whether a stage must not use what is remembered."""
        return self.force is not None and STAGES.index(stage) >= STAGES.index(self.force)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Inside, a sign in the workspace says that this run goes on, and in which process.

        `gc` then leaves alone whatever was written since. It is no lock: nobody waits for it, and
        if the process dies it stands for nothing any more.
        """
        sign = {"model": self.config.name, "owner": dataclasses.asdict(Owner.this())}
        self.store.put(self.key(AT_WORK), readable_json(sign))
        try:
            yield
        finally:
            with contextlib.suppress(PipelineError):  # the store is gone: why was told already
                self.store.delete(self.key(AT_WORK))

    @contextmanager
    def reading_ahead(self, keys: Iterable[str]) -> Iterator[None]:
        """Inside, these objects are read from a copy, if the workspace is in a bucket.

        They were fetched at once: asked for one by one, a dozen small ones take a second.
        """
        whole = self.store
        if whole.root is None:
            self.store = ReadAhead(whole, keys)
        try:
            yield
        finally:
            self.store = whole

    @contextmanager
    def timed(self, stage: Stage, what: str) -> Iterator[list[str]]:
        """Tells the reporter that a stage begins and ends, and notes its seconds.

        Yields:
            A list: the body appends the words that sum up its result.
        """
        self.reporter.begin(stage, what)
        words: list[str] = []
        started = time.perf_counter()
        try:
            yield words
        except BaseException as error:
            if fault := blamed(error):
                raise fault from error
            raise
        seconds = time.perf_counter() - started
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + seconds, 3)
        reused = words[-1:] == ["reused"]
        self.reporter.end(stage, ", ".join(words), seconds, reused=reused)
        if not self.recorded:
            return
        self._records += 1
        record = {"stage": stage, "result": words, "seconds": round(seconds, 3)}
        self.store.put(self.key(f"stages/{self._records:02d}-{stage}.json"), readable_json(record))


def memoized(
    run: Run,
    stage: Stage,
    version: int,
    *,
    what: str,
    inputs: Mapping[str, str],
    config: Mapping[str, Any],
    make: Callable[[], Made],
) -> StageResult:
    """The result of a stage: remembered if it was made before, else made, stored and remembered.

    Args:
        run: the run it belongs to.
        stage: its name, one of `STAGES`.
        version: raised when its meaning changes.
        what: a few words for the terminal.
        inputs: digests of everything that goes in, by role.
        config: the part of the configuration it depends on.
        make: does the work; everything it returns is in the store already.
    """
    key = stage_key(stage, version, inputs=inputs, config=config)
    with run.timed(stage, what) as words:
        if not run.forced(stage) and (known := recall(run.store, key)):
            words += [str(known.facts.get("summary", "")), "reused"]
            return known
        started = time.perf_counter()
        outputs, facts, summary = make()
        words.append(summary)
        seconds = round(time.perf_counter() - started, 3)
        result = StageResult(key, outputs, {**facts, "summary": summary}, seconds)
        remember(run.store, stage, result)
        return result


def new_run_id() -> str:
    """A name for a run: UTC time to the second, and four random bytes against collisions."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
