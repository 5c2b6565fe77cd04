"""Opening a workspace, and what is said when the disk or the network refuses."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from obstore.store import S3Store

from mnist_pipeline.errors import ConfigError, OutsideError
from mnist_pipeline.store.objects import Store, WorkspaceMissingError


def test_a_folder_is_made_where_there_is_none(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "new" / "er")
    assert store.root == (tmp_path / "new" / "er").resolve()
    store.put("k", b"x")
    assert (tmp_path / "new/er/k").read_bytes() == b"x"
    assert Store.open(f"file://{tmp_path}/new/er").get("k") == b"x"


@pytest.mark.parametrize("where", ["~/work", Path("~/work"), "file://~/work"])
def test_a_tilde_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str | Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Store.open(where).root == (tmp_path / "work").resolve()


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_a_file_in_the_place_of_the_workspace_is_explained(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutsideError, match="cannot be written") as caught:
        Store.open(tmp_path / where)
    assert caught.value.exit_code == 6
    assert caught.value.facts["workspace"] == str(tmp_path / where)
    assert caught.value.facts["cause"]
    assert "--workspace" in caught.value.remedy
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "http://host", "S3://bucket", "://x", "hdfs://n/x"]
)
def test_a_scheme_that_is_not_supported_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="cannot be on") as caught:
        Store.open(url)
    assert caught.value.facts["workspace"] == url
    assert "s3://" in caught.value.remedy


@pytest.mark.parametrize("url", ["s3://", "s3:///x", "gs://", "az://", "s3://bu cket"])
def test_a_url_that_names_no_bucket_is_explained(url: str) -> None:
    with pytest.raises(ConfigError, match="names no bucket") as caught:
        Store.open(url)
    assert caught.value.facts["workspace"] == url


def test_a_missing_account_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OutsideError, match="cannot be opened") as caught:
        Store.open("az://container/x")
    assert "Account" in caught.value.facts["cause"]
    assert "\n" not in caught.value.facts["cause"]
    assert "AZURE_STORAGE_ACCOUNT_NAME" in caught.value.remedy


def test_two_stores_in_memory_are_two_stores() -> None:
    one, other = Store.open("memory://"), Store.open("memory://")
    one.put("k", b"x")
    assert not other.exists("k")


# --- what the disk refuses ---


def test_a_key_below_an_object_is_explained(folder_store: Store) -> None:
    folder_store.put("a", b"x")
    for operation in (
        folder_store.get,
        folder_store.exists,
        lambda key: folder_store.put(key, b""),
    ):
        with pytest.raises(OutsideError) as caught:
            operation("a/b")
        assert caught.value.facts["key"] == "a/b"
        assert not caught.value.transient  # a disk does not come back by itself
    assert folder_store.get("a") == b"x"


def test_an_error_of_a_remote_store_may_be_retried() -> None:
    # A port on which nobody listens, and a client that gives up at once.
    backend = S3Store(
        "bucket",
        endpoint="http://127.0.0.1:9",
        access_key_id="x",
        secret_access_key="x",
        region="x",
        client_options={"allow_http": True, "timeout": "1s"},
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=1)},
    )
    store = Store(backend, "s3://bucket")
    for operation in (store.get, store.exists, store.list, lambda key: store.put(key, b"x")):
        with pytest.raises(OutsideError) as caught:
            operation("k")
        assert caught.value.transient
        assert caught.value.facts["workspace"] == "s3://bucket"


@pytest.mark.integration
def test_a_full_disk_is_named_and_nothing_is_half_written(small_disk: Path) -> None:
    store = Store.open(small_disk)
    store.put("old", b"as it was")
    big = b"x" * 60_000
    store.put("big", big)

    def in_the_making() -> None:
        with store.scratch() as folder:
            (folder / "file").write_bytes(big * 2)

    attempts = [
        lambda: store.put("old", big * 2),
        lambda: store.put("new", big * 2),
        lambda: store.put_if_absent("new", big * 2),
        in_the_making,
    ]
    for attempt in attempts:
        with pytest.raises(OutsideError, match="disk is full") as caught:
            attempt()
        assert caught.value.exit_code == 6
        assert not caught.value.transient
        assert "free some space" in caught.value.remedy
    assert store.get("old") == b"as it was"
    assert [info.key for info in store.list("")] == ["big", "old"]
    assert not list(small_disk.glob(".scratch/*/*"))
    store.delete("big")
    store.put("new", big)  # and there is room again


@pytest.mark.integration
def test_a_read_only_disk_is_named(small_disk: Path) -> None:
    store = Store.open(small_disk)
    store.put("k", b"x")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OutsideError, match="workspace cannot be written"):
        Store.open(small_disk)
    for attempt in (lambda: store.put("k", b"y"), lambda: store.put_if_absent("n", b"y")):
        with pytest.raises(OutsideError, match="cannot write"):
            attempt()
    assert store.get("k") == b"x"


def test_a_reader_makes_nothing_and_needs_no_right_to_write(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceMissingError, match="there is no workspace") as caught:
        Store.open(tmp_path / "mistyped", writable=False)
    assert caught.value.facts["workspace"] == str(tmp_path / "mistyped")
    assert "--workspace" in caught.value.remedy
    assert not (tmp_path / "mistyped").exists()
    Store.open(tmp_path / "real").put("key", b"value")
    assert Store.open(tmp_path / "real", writable=False).get("key") == b"value"
