"""A tracking server: its address without secrets, a client of it that is quiet and in time.

Nothing here imports MLflow before a client is asked for.
"""

from __future__ import annotations

import dataclasses
import errno
import importlib
import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from mnist_pipeline.errors import (
    ConfigError,
    OutsideError,
    PipelineError,
    explained,
    shortened,
    without_secrets,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

URI = "MLFLOW_TRACKING_URI"
USERNAME, PASSWORD, TOKEN = (
    f"MLFLOW_TRACKING_{word}" for word in ("USERNAME", "PASSWORD", "TOKEN")
)

_one_client = threading.Lock()  # MLflow is told by the environment, of which there is one


@dataclasses.dataclass(frozen=True)
class Server:
    """Where a tracking server is, and as whom it is spoken to.

    Attributes:
        address: `http://host:port/path`, without user and password; for everybody to read.
        credentials: what stood in the address, as MLflow's environment variables.
    """

    address: str
    credentials: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)

    @classmethod
    def at(cls, uri: str) -> Server:
        """The server that a URI names.

        Raises:
            ConfigError: it is no http or https address; what it is instead is not said.
        """
        try:
            parts = urlsplit(uri)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment or not uri.isascii() or " " in uri:
            raise ConfigError(
                "the tracking server's address is none that MLflow could be reached at",
                expected="an http:// or https:// address without ? and #",
                remedy=f"set {URI} or publish.mlflow.uri, for instance to http://127.0.0.1:5000",
            )
        host = parts.netloc.rpartition("@")[2]
        address = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        if parts.username is None and parts.password is None:
            return cls(address)
        secrets = {USERNAME: unquote(parts.username or ""), PASSWORD: unquote(parts.password or "")}
        return cls(address, secrets)

    @classmethod
    def named(cls, uri: str | None) -> Server:
        """The server that an option names, or the environment where it names none.

        Raises:
            ConfigError: neither does, or it is no address.
        """
        uri = uri or os.environ.get(URI, "").strip()
        if not uri:
            raise ConfigError(
                "nothing says where the tracking server is",
                remedy=f"set {URI}, or publish.mlflow.uri (models publish: --set uri=ADDRESS)",
            )
        return cls.at(uri)

    @contextmanager
    def client(self, seconds: int) -> Iterator[MlflowClient]:
        """A client; inside, MLflow waits so long for each answer, asks once and says nothing.

        What MLflow or the network raises inside comes out explained, without any secret.

        Raises:
            OutsideError: MLflow is not installed, or the body went wrong.
        """
        settings = {
            URI: self.address,
            **self.credentials,
            # A request that went through although its answer was lost must not be sent again by
            # somebody who does not look first what is there: whoever publishes does.
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": str(seconds),
            "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": str(seconds),
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
        }
        with _one_client, _environment(settings), warnings.catch_warnings(action="ignore"):
            mlflow = _mlflow()
            logger = logging.getLogger("mlflow")
            level = logger.level
            logger.setLevel(logging.CRITICAL)
            try:
                yield mlflow.MlflowClient(self.address, self.address)
            except (mlflow.MlflowException, OSError, ModuleNotFoundError) as error:
                raise self._explained(error) from None
            finally:
                logger.setLevel(level)

    def _explained(self, error: Exception) -> PipelineError:
        """What went wrong between here and there, for whoever has to act on it."""
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return explained(error)  # it is here that there is no space
        if isinstance(error, ModuleNotFoundError):
            return OutsideError(
                f"where {self.address} keeps its artifacts needs the package {error.name!r} here",
                remedy=f"pip install {error.name}",
            )
        names = {type(each).__name__ for each in _causes(error)}
        cause = self._without_secrets(shortened(str(error).partition("\n")[0], 200))
        status = _status(error)
        if names & {"Timeout", "ConnectTimeout", "ReadTimeoutError"}:
            return OutsideError(
                f"the tracking server {self.address} does not answer",
                remedy="see whether it hangs; publish.mlflow.timeout says how long it may take",
            )
        if status in (401, 403):
            return OutsideError(
                f"the tracking server {self.address} refuses: {status}",
                remedy=f"set {USERNAME} and {PASSWORD}, or {TOKEN}, to what it wants",
            )
        if names & {"SSLError"}:
            return OutsideError(
                f"the tracking server {self.address} cannot be trusted",
                cause=cause,
                remedy="MLFLOW_TRACKING_SERVER_CERT_PATH names the certificates to trust",
            )
        if names & {"ConnectionError", "ChunkedEncodingError", "ProtocolError"}:
            return OutsideError(
                f"the tracking server {self.address} cannot be reached",
                remedy="see whether it runs",
                transient=True,
            )
        return OutsideError(
            f"the tracking server {self.address} did not take the version",
            cause=cause,
            remedy="its log says why",
            transient=status is None or status >= 500 or status == 429,
        )

    def _without_secrets(self, text: str) -> str:
        """A text of somebody else's, in which a secret might be quoted."""
        known = [os.environ.get(name, "") for name in (PASSWORD, TOKEN)]
        for secret in (*known, *self.credentials.values()):
            if secret:
                text = text.replace(secret, "…")
        return str(without_secrets(text))


def _mlflow() -> Any:
    """MLflow, imported.

    Raises:
        OutsideError: it is not installed.
    """
    try:
        importlib.import_module("pandas")  # MLflow's pyfunc needs it, its small package does not
        importlib.import_module("mlflow.pyfunc")
        return importlib.import_module("mlflow")
    except ModuleNotFoundError as error:
        raise OutsideError(
            f"MLflow is not installed here ({error.name})",
            remedy="pip install 'mnist-pipeline[mlflow]'",
        ) from None


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Inside, environment variables are set; after it they are what they were."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, what it was raised from or during, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _status(error: Exception) -> int | None:
    """The HTTP status that an exception is about, as far as it tells."""
    for each in _causes(error):
        response = getattr(each, "response", None)
        if response is not None:
            return int(response.status_code)
        if found := re.search(r"error code (\d{3})\b|too many (\d{3}) error", str(each)):
            return int(found[1] or found[2])
        if hasattr(each, "get_http_status_code") and getattr(each, "json", None):
            return int(each.get_http_status_code())
    return None
