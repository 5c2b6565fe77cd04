"""Small real data for every test: drawn digits as arrays, in files, in a workspace; a bucket."""

from __future__ import annotations

import importlib
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from s3 import make_bucket, s3_server_in
from small import SETTINGS, drawn_digits, write_idx
from webhooks import Webhook, listening_webhook

from mnist_pipeline import tell
from mnist_pipeline.announced import announcements
from mnist_pipeline.cli.console import TerminalReporter
from mnist_pipeline.configfile import parse_setting, resolve
from mnist_pipeline.pipeline import Result, run_pipeline
from mnist_pipeline.plugins import SEAMS, available
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.objects import Store

# Where CI is set, Hypothesis takes a profile of its own: more examples, and always the same.
if "CI" not in os.environ:
    settings.register_profile("contributor", max_examples=40, deadline=None)
    settings.load_profile("contributor")


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """600 drawn digits: images (600, 784) uint8, labels (600,) uint8."""
    return drawn_digits(600)


@pytest.fixture
def idx_folder(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> Path:
    """A folder like MNIST's: 400 training and 200 test images."""
    images, labels = digits
    folder = tmp_path / "idx"
    write_idx(folder, "train", images[:400], labels[:400])
    write_idx(folder, "t10k", images[400:], labels[400:])
    return folder


Train = Callable[..., Result]


@pytest.fixture
def interrupt_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], AbstractContextManager[None]]:
    """`with interrupt_at("train"): …` presses Ctrl-C as soon as that stage begins."""
    begin = TerminalReporter.begin

    @contextmanager
    def interrupting(stage: str) -> Iterator[None]:
        def begin_and_interrupt(self: TerminalReporter, name: str, what: str) -> None:
            begin(self, name, what)
            if name == stage:
                signal.raise_signal(signal.SIGINT)

        with monkeypatch.context() as patched:
            patched.setattr(TerminalReporter, "begin", begin_and_interrupt)
            yield

    return interrupting


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


@pytest.fixture
def place(request: pytest.FixtureRequest, workspace: Path) -> str:
    """Where the workspace of `train` is: a folder, and for tests marked so also a bucket.

    `@pytest.mark.parametrize("place", PLACES, indirect=True)`; the bucket is an integration test.
    """
    if getattr(request, "param", "folder") == "folder":
        return str(workspace)
    return f"{request.getfixturevalue('bucket')}/workspace"


@pytest.fixture
def train(place: str) -> Train:
    """Runs the whole pipeline without Prefect: `train("idx:…", "train.seed=1", force="train")`."""

    def run(source: str | list[str], *settings: str, **options: Any) -> Result:
        sources = [source] if isinstance(source, str) else source
        layers = [parse_setting(setting) for setting in (*SETTINGS, *settings)]
        config = resolve([*layers, {"data": {"sources": sources}}])
        return run_pipeline(Run(Store.open(place), config, **options))

    return run


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server."""
    with s3_server_in(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket; the environment says where and as whom, as a user's would."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    name = f"digits-{secrets.token_hex(6)}"
    for variable, value in make_bucket(s3_server, name).items():
        monkeypatch.setenv(variable, value)
    return f"s3://{name}"


PLUGIN = """
from __future__ import annotations
import dataclasses
from typing import Literal
from mnist_pipeline.plugins import option

@dataclasses.dataclass(frozen=True)
class Thing:
    path: str = option(dataclasses.MISSING, "where it lies", locates=True)
    count: int = option(3, "how many")
    mode: Literal["fast", "slow"] = option("fast", "how")
    sizes: tuple[int, ...] = option((1, 2), "sizes")

    def __post_init__(self) -> None:
        if self.count == 13:
            raise ValueError("13 brings bad luck")

class NotADataclass:
    pass

def function():
    pass
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Installs a package with entry points: `install("acme", {"thing.v1": "Thing"})`.

    Returns the name of its one module.
    """
    before = set(sys.modules)

    def clear() -> None:
        available.cache_clear()
        announcements.cache_clear()

    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def make(
        package: str, entries: dict[str, str], code: str = PLUGIN, seam: str = "source"
    ) -> str:
        module = f"{package}_of_{tmp_path.name}"
        (site / f"{module}.py").write_text(code)
        info = site / f"{package}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
        lines = [f"{name} = {module}:{attribute}" for name, attribute in entries.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{SEAMS[seam]}]", *lines]) + "\n")
        importlib.invalidate_caches()
        clear()
        return module

    yield make
    clear()
    for name in set(sys.modules) - before:
        if name.endswith(tmp_path.name):
            del sys.modules[name]


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    """The webhook that runs of this process tell."""
    monkeypatch.setattr(tell, "PAUSES", (0.01, 0.01))
    with listening_webhook() as found:
        monkeypatch.setenv(tell.WEBHOOK, found.url)
        yield found
