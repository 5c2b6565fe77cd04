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
from mnist_pipeline.store.places import check_url, is_url


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
    assert caught.value.facts["source"] == "s3://me:…@bucket/landing/*.csv"


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


@pytest.mark.parametrize("tag", ['"abc"', "abc", 'W/"abc"', None])
def test_a_tag_is_the_same_however_it_is_written(tag: str | None) -> None:
    modified = datetime(2026, 11, 1, 2, 3, 4, 567_000, tzinfo=UTC)
    entry: dict[str, Any] = {"path": "k", "size": 3, "last_modified": modified, "e_tag": tag}
    seconds = int(modified.timestamp()) * 1_000_000_000
    assert ObjectInfo.of(entry).stamp == (3, "abc" if tag else seconds)
