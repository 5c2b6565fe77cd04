"""A publisher: tells a webhook of every version."""

import dataclasses
import json
import os
import urllib.request
from urllib.parse import urlsplit

from mnist_pipeline.errors import OutsideError
from mnist_pipeline.plugins import option
from mnist_pipeline.store.publishers import FinishedVersion


@dataclasses.dataclass(frozen=True)
class Webhook:
    """Sends what a version is and can as JSON, with PUT, to ADDRESS/NAME/VERSION.

    The address is a secret, so it is in the environment and not among the options.
    """

    variable: str = option("DIGITS_WEBHOOK", "the environment variable with the address")
    timeout: float = option(5.0, "seconds to wait for an answer")

    def publish(self, version: FinishedVersion) -> str:
        manifest = version.manifest
        address = os.environ.get(self.variable, "").strip().rstrip("/")
        host = urlsplit(address).hostname
        if not address.startswith(("http://", "https://")) or not host:
            raise OutsideError(
                f"{self.variable} is not the address of a webhook",
                remedy=f"set {self.variable} to an http:// or https:// address",
            )
        body = {
            "model": manifest.name,
            "version": manifest.version,
            "champion": version.is_champion,
            "status": manifest.verdict["status"],
            "metrics": dict(manifest.metrics),
            "kind": version.bundle.model,
            "report_bytes": len(version.read("report.html")),
        }
        request = urllib.request.Request(
            f"{address}/{manifest.name}/{manifest.version}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method="PUT",  # the same again replaces it
        )
        try:
            urllib.request.urlopen(request, timeout=self.timeout).close()
        except OSError as error:  # its text may quote the address
            cause = getattr(error, "code", type(error).__name__)
            remedy = "see whether the server answers"
            raise OutsideError(f"{host} took no version", cause=cause, remedy=remedy) from None
        return f"{host}, {manifest.name}/{manifest.version}"
