"""An S3 server of this machine, and buckets on it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def s3_server_in(folder: Path) -> Iterator[str]:
    """moto's S3 on a free port, in a process of its own that logs into a folder: its address."""
    log = folder / "s3.log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as server:
        try:
            end = time.monotonic() + 60
            while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < end, "moto's server did not start"
                time.sleep(0.05)
            yield found.group()
        finally:
            server.kill()


def make_bucket(server: str, name: str) -> dict[str, str]:
    """Makes a bucket; returns what the environment has to say for it to be reached."""
    request = urllib.request.Request(f"{server}/{name}", method="PUT")  # no client: one call
    urllib.request.urlopen(request, timeout=10).close()
    return {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_REGION": "us-east-1",
    }
