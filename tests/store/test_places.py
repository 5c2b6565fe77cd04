"""Places: what a URL may be, and that nothing secret in one is ever said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from obstore.exceptions import GenericError

from mnist_pipeline.errors import ConfigError, OutsideError
from mnist_pipeline.stages.inputs import build_source
from mnist_pipeline.store.faults import explained
from mnist_pipeline.store.info import ObjectInfo
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.places import ENDPOINTS, backend_at, check_url, is_url


@pytest.mark.parametrize(
    "url", ["s3://bucket/a:b@c/*.csv", "gs://b", "abfss://box@account.dfs.core.windows.net/x"]
)
def test_urls_of_buckets(url: str) -> None:
    assert is_url(url)
    check_url(url, "source")


def test_paths_are_no_urls() -> None:
    assert not any(map(is_url, ["landing/*.csv", "/tmp/x", "file:///tmp/x", "c:/x", "~"]))


@pytest.mark.parametrize("spec", ["csv:ftp://host/x.csv", "idx:https://host/x", "png:x://y"])
def test_other_schemes_are_refused_before_anything_is_opened(spec: str) -> None:
    with pytest.raises(ConfigError, match="the source cannot be on ") as caught:
        build_source(spec)
    assert "s3://" in caught.value.remedy


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="password") as caught:
        build_source("csv:s3://me:sesame@bucket/landing/*.csv")
    assert "sesame" not in str(caught.value)
    assert caught.value.facts["source"] == "s3://…@bucket/landing/*.csv"


@pytest.mark.parametrize("opened", ["s3://k:ab/sesame@bucket/w", "s3://sesame@b/w", "gs://k:se@b"])
def test_what_may_be_a_password_is_refused_by_every_store(opened: str) -> None:
    with pytest.raises(ConfigError, match="password") as caught:
        Store.open(opened)
    assert "se" not in caught.value.facts["workspace"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://bucket//folder", "empty step"),
        ("s3://bucket/a/../b", "one of dots"),
        ("az://box/folder?sig=sesame", "query"),
    ],
)
def test_no_place(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Store.open(url)
    assert "sesame" not in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("folder", ["a b", "50%25", "a%2Fb", "#1", "ä/+&="])
def test_letters_of_a_url_mean_themselves(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert backend_at(f"s3://bucket/{folder}", "workspace").prefix == folder


@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize("endpoint", ["localhost:9000", "http://", "ftp://a", "http://a b/"])
def test_an_endpoint_that_is_none(
    name: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, endpoint)
    with pytest.raises(ConfigError, match=f"{name} is no endpoint") as caught:
        Store.open("s3://bucket/workspace")
    assert name in caught.value.remedy


def test_a_source_that_opens_files_to_list_them_takes_no_bucket() -> None:
    with pytest.raises(ConfigError, match="takes no URL as its dir"):
        build_source("mnist:s3://bucket/mnist")
    build_source("mnist:mirrors=http://127.0.0.1:1/")


def test_a_signature_in_a_cause_is_not_said() -> None:
    why = "Error performing GET https://a.blob.core.windows.net/b?sv=1&sig=sesame in 1s - <?xml v?>"
    with (
        pytest.raises(OutsideError) as caught,
        explained("list", "x", "source", "az://b", remote=True),
    ):
        raise GenericError(why)
    assert caught.value.facts["cause"] == why.replace("sv=1&sig=sesame", "…").removesuffix(
        " - <?xml v?>"
    )


def test_the_password_of_an_endpoint_is_not_said() -> None:
    with (
        pytest.raises(OutsideError) as caught,
        explained("list", "x", "source", "s3://b", remote=True),
    ):
        raise GenericError("Error performing GET http://me:sesame@127.0.0.1:1/b?list-type=2 in 2ms")
    assert caught.value.facts["cause"] == "Error performing GET http://…@127.0.0.1:1/b?… in 2ms"


@pytest.mark.parametrize(
    ("said", "headline", "transient"),
    [
        ("status code: 404 Not Found: <Code>NoSuchBucket</Code>", "bucket does not exist", False),
        ("status code: 403 Forbidden: <Code>SignatureDoesNotMatch</Code>", "refuses to", False),
        ("status code: 401 Unauthorized", "refuses to", False),
        ("status code: 500 Internal Server Error", "cannot be listed", True),
    ],
)
def test_why_a_bucket_cannot_be_listed(said: str, headline: str, transient: bool) -> None:
    with (
        pytest.raises(OutsideError, match=headline) as caught,
        explained("list", "x", "source", "s3://b", remote=True),
    ):
        raise GenericError(f"Error performing list request: {said}")
    assert caught.value.transient == transient
    assert ("TIMEOUT" in caught.value.remedy) == transient


@pytest.mark.parametrize("tag", ['"abc"', "abc", 'W/"abc"', None])
def test_a_tag_is_the_same_however_it_is_written(tag: str | None) -> None:
    modified = datetime(2026, 11, 1, 2, 3, 4, 567_000, tzinfo=UTC)
    entry: dict[str, Any] = {"path": "k", "size": 3, "last_modified": modified, "e_tag": tag}
    seconds = int(modified.timestamp()) * 1_000_000_000
    assert ObjectInfo.of(entry).stamp == (3, "abc" if tag else seconds)
