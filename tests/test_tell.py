"""The webhook: what it is sent, when it is tried again, and that its address stays secret."""

from __future__ import annotations

import socket

import pytest
from webhooks import Webhook

from mnist_pipeline import tell as telling
from mnist_pipeline.errors import ConfigError
from mnist_pipeline.reporting import Silent
from mnist_pipeline.tell import WEBHOOK, tell, webhook


class Notes(Silent):
    """A reporter that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def notes() -> Notes:
    return Notes()


def test_the_body_is_json_for_people_and_programs(listener: Webhook, notes: Notes) -> None:
    assert tell("held", "digits@2 is held: 3 → 4", notes, model="digits", reasons=["a: b"])
    (told,) = listener.told
    assert (told["event"], told["text"]) == ("held", "digits@2 is held: 3 → 4")
    assert (told["model"], told["reasons"]) == ("digits", ["a: b"])
    assert told["host"] == socket.gethostname()
    assert told["time"].endswith("Z")
    assert notes.notes == []


def test_without_an_address_nobody_is_told(notes: Notes, monkeypatch) -> None:
    monkeypatch.delenv(WEBHOOK, raising=False)
    assert not tell("held", "words", notes)
    monkeypatch.setenv(WEBHOOK, "  ")
    assert not tell("held", "words", notes)
    assert notes.notes == []


@pytest.mark.parametrize(
    ("answers", "arrives", "asked"),
    [
        ([500, 429], True, 3),  # may pass by itself: tried again
        ([503, 503, 503], False, 3),  # but not for ever
        ([404], False, 1),  # will not pass by itself
        ([302], False, 1),  # would arrive as a GET, without its body
    ],
)
def test_what_is_tried_again(
    listener: Webhook, notes: Notes, answers: list[int], arrives: bool, asked: int
) -> None:
    listener.answers = [*answers]
    assert tell("failed", "words", notes) is arrives
    assert listener.asked == asked
    assert len(listener.told) == arrives
    if not arrives:
        assert notes.notes == [f"nobody was told of this: the webhook answers {answers[0]}"]


def test_a_webhook_that_is_down_is_said_and_its_address_is_not(notes: Notes, monkeypatch) -> None:
    monkeypatch.setattr(telling, "PAUSES", (0.01, 0.01))
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv(WEBHOOK, f"http://127.0.0.1:{taken.getsockname()[1]}/secret-path")
        assert not tell("failed", "words", notes)
    assert notes.notes == [
        "nobody was told of this: the webhook cannot be reached (ConnectionRefusedError)"
    ]


def test_a_webhook_that_does_not_answer_is_not_waited_for(notes: Notes, monkeypatch) -> None:
    monkeypatch.setattr(telling, "PAUSES", ())
    monkeypatch.setattr(telling, "SECONDS_TO_ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(WEBHOOK, f"http://127.0.0.1:{silent.getsockname()[1]}/secret-path")
        assert not tell("failed", "words", notes)
    assert notes.notes == ["nobody was told of this: the webhook does not answer (TimeoutError)"]


@pytest.mark.parametrize(
    "address",
    [
        "secret",
        "ftp://example.com/secret",
        "file:///etc/secret",
        "https://",
        "https://[secret",
        "http://example.com:secret/",
        "http://example.com/sec ret",
        "http://example.com/sécret",
        "http://example.com/secret\nHost: other",
    ],
)
def test_what_is_no_address_is_said_and_not_repeated(
    address: str, notes: Notes, monkeypatch
) -> None:
    monkeypatch.setenv(WEBHOOK, address)
    with pytest.raises(ConfigError) as caught:
        webhook()
    assert "cret" not in str(caught.value).replace("secret=", "")
    assert not tell("failed", "words", notes)
    assert notes.notes == [f"nobody was told of this: {WEBHOOK} is not the address of a webhook"]
