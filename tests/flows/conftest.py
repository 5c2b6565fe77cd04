"""Prefect servers for the tests of a session: a temporary one, and one that can be killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from real import Prefect
from webhooks import Webhook, listening_webhook


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """The temporary server of Prefect's own test harness, for flows run in this process."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def webhook() -> Iterator[Webhook]:
    """What `MNIST_PIPELINE_WEBHOOK` names for the real server and all that belongs to it."""
    with listening_webhook() as webhook:
        yield webhook


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory, webhook: Webhook) -> Iterator[Prefect]:
    """A real server, in processes of its own."""
    prefect = Prefect(tmp_path_factory.mktemp("server"), MNIST_PIPELINE_WEBHOOK=webhook.url)
    try:
        prefect.start_server()
        yield prefect
    finally:
        prefect.stop()
