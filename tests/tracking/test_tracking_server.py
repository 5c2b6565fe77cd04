"""A server's address, and servers that are down, refuse, break, hang: in words, without secrets."""

from __future__ import annotations

import dataclasses
import importlib
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from tracking_proxy import proxying

from mnist_pipeline.errors import ConfigError, OutsideError, PipelineError
from mnist_pipeline.plugins import build
from mnist_pipeline.store.objects import Store
from mnist_pipeline.testing.publishers import small_version
from mnist_pipeline.tracking.publisher import Mlflow
from mnist_pipeline.tracking.server import Server


def refused(publisher: Mlflow, tmp_path: Path) -> PipelineError:
    """The error of publishing a small version."""
    with pytest.raises(PipelineError) as caught:
        publisher.publish(small_version(Store.open(tmp_path / "workspace")))
    return caught.value


def test_an_address_is_told_without_its_secrets() -> None:
    server = Server.at("https://anna:s%40crit@tracking.example:5000/mlflow/")
    assert server.address == "https://tracking.example:5000/mlflow"
    assert server.credentials == {
        "MLFLOW_TRACKING_USERNAME": "anna",
        "MLFLOW_TRACKING_PASSWORD": "s@crit",
    }
    assert "s@crit" not in repr(server)
    assert Server.at("http://[::1]:5000").address == "http://[::1]:5000"


@pytest.mark.parametrize(
    "uri",
    [
        "mlruns",
        "sqlite:///secret.db",
        "http://",
        "http://host:0",
        "http://h/?token=secret",
        "http://[secret",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Server.at(uri)
    assert "secret" not in str(caught.value)
    assert "MLFLOW_TRACKING_URI" in caught.value.remedy


def test_a_password_among_the_options_is_refused() -> None:
    with pytest.raises(ConfigError, match="holds a password") as caught:
        build("publisher", "mlflow", {"uri": "http://anna:secret@host:5000"})
    assert "secret" not in str(caught.value)


def test_nothing_says_where_the_server_is(tmp_path: Path) -> None:
    error = refused(Mlflow(), tmp_path)
    assert (error.exit_code, "MLFLOW_TRACKING_URI" in error.remedy) == (2, True)


def test_without_mlflow_it_says_what_to_install(tmp_path: Path, monkeypatch: Any) -> None:
    def without_mlflow(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "mlflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return importing(name, *rest)

    importing = importlib.import_module
    monkeypatch.setattr("importlib.import_module", without_mlflow)
    error = refused(Mlflow(uri="http://127.0.0.1:1"), tmp_path)
    assert (error.exit_code, error.remedy) == (6, "pip install 'mnist-pipeline[mlflow]'")


def test_a_server_that_is_down(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        error = refused(Mlflow(uri=f"http://127.0.0.1:{taken.getsockname()[1]}"), tmp_path)
    assert isinstance(error, OutsideError)
    assert "cannot be reached" in error.headline


@pytest.mark.parametrize(
    ("status", "words", "asked"),
    [
        (401, "refuses: 401", 1),
        (403, "refuses: 403", 1),
        (404, "did not take the version", 1),
        (500, "did not take the version", 3),
        (503, "did not take the version", 3),
    ],
)
def test_a_server_that_refuses_or_breaks(
    tmp_path: Path, monkeypatch: Any, status: int, words: str, asked: int
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "anna")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "sesame-open")
    before = dict(os.environ)
    with proxying(0) as stub:
        stub.status, stub.body = status, b"no, anna:sesame-open"
        error = refused(Mlflow(uri=stub.url), tmp_path)
    assert isinstance(error, OutsideError)
    assert words in error.headline
    assert "sesame-open" not in str(error)
    assert len(stub.asked) == asked  # what may pass is tried again, and found out first
    assert dict(os.environ) == before


def test_a_server_that_hangs_is_waited_for_once(tmp_path: Path) -> None:
    with proxying(0) as stub:
        stub.hanging.set()
        start = time.monotonic()
        error = refused(Mlflow(uri=stub.url, timeout=1), tmp_path)
        seconds = time.monotonic() - start
    assert "does not answer" in error.headline
    assert "publish.mlflow.timeout" in error.remedy
    assert seconds < 10
    assert len(stub.asked) == 1


def test_what_is_no_fault_of_the_server_is_not_blamed_on_it(tmp_path: Path) -> None:
    version = small_version(Store.open(tmp_path))
    with pytest.raises(AttributeError), proxying(0) as stub:
        Mlflow(uri=stub.url).publish(dataclasses.replace(version, manifest=None))
