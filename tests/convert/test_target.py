"""Outputs: all or nothing, whatever happens; and nothing replaced that nobody wanted replaced."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mnist_pipeline.convert.target import Target
from mnist_pipeline.errors import ConfigError, OutsideError
from mnist_pipeline.store.owner import Owner

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")


def put(target: Target, content: str, rejected: str = "") -> int:
    """Writes an output with all its files the same."""
    with target.staged() as staging:
        if target.folder:
            staging.path.mkdir()
            for name in NAMES:
                (staging.path / name).write_text(content)
        else:
            staging.path.write_text(content)
        if rejected:
            staging.rejected.write_text(rejected)
        return staging.publish()


def there(path: Path) -> str | None:
    """What all files of an output hold; None if it does not exist."""
    if not path.exists():
        return None
    files = [path / name for name in NAMES] if path.is_dir() else [path]
    (content,) = {file.read_text() for file in files}
    return content


FOLDERS = pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])


@FOLDERS
def test_all_or_nothing(folder: bool, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "out"
    target = Target(path, folder=folder, overwrite=False)
    target.check()

    def interrupted() -> None:
        with target.staged() as staging:
            assert not staging.path.exists()
            staging.rejected.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []  # the folders that were made are gone, too
    assert put(target, "new", "some") == 1 + folder
    assert there(path) == "new"
    assert target.rejected.read_text() == "some"
    assert sorted(path.parent.iterdir()) == [path, target.rejected]


@FOLDERS
def test_nothing_is_replaced_without_overwrite(folder: bool, tmp_path: Path) -> None:
    path = tmp_path / "out"
    put(Target(path, folder=folder, overwrite=False), "old", "its list")
    again = Target(path, folder=folder, overwrite=False)
    for act in (again.check, lambda: put(again, "new")):
        with pytest.raises(ConfigError, match="out exists already") as caught:
            act()
        assert "--overwrite" in caught.value.remedy
    assert there(path) == "old"
    overwriting = Target(path, folder=folder, overwrite=True)
    overwriting.check()
    put(overwriting, "new")
    assert there(path) == "new"
    assert list(tmp_path.iterdir()) == [path]  # the list was of the old one


def test_a_list_of_rejected_rows_is_not_replaced_either(tmp_path: Path) -> None:
    (tmp_path / "out.csv.rejected.parquet").write_text("of an earlier one")
    with pytest.raises(ConfigError, match=r"out\.csv\.rejected\.parquet exists already"):
        Target(tmp_path / "out.csv", folder=False, overwrite=False).check()


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_empty_folder_is_as_good_as_none(overwrite: bool, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    target = Target(path, folder=True, overwrite=overwrite)
    target.check()
    put(target, "new")
    assert there(path) == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("stranger", ["thesis.docx", "deep/er/1.png", "train.csv.bak", "0/1.png"])
def test_a_folder_with_anything_else_is_never_replaced(stranger: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    put(Target(path, folder=True, overwrite=False), "old")
    (path / stranger).parent.mkdir(parents=True, exist_ok=True)
    (path / stranger).write_text("years of work")
    with pytest.raises(ConfigError, match="this program did not write") as caught:
        Target(path, folder=True, overwrite=True).check()
    assert caught.value.facts["file"] == stranger


@pytest.mark.parametrize(
    "name",
    [
        "0/0000001.png",
        "test/9/12345678.png",
        "train/0000000.png",
        "t10k-labels-idx1-ubyte.gz",
        "train.csv.gz",
        "test.parquet",
    ],
)
def test_what_conversions_write_may_be_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).write_text("")
    target = Target(tmp_path / "out", folder=True, overwrite=True)
    assert target.check() is None  # no error, and nothing is touched yet
    assert (tmp_path / "out" / name).exists()


def test_a_file_is_no_folder_and_a_device_neither(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, folder in ((tmp_path / "file", True), (tmp_path, False), (Path("/dev/null"), False)):
        with pytest.raises(ConfigError, match="exists and is no "):
            Target(path, folder=folder, overwrite=True).check()


@pytest.mark.parametrize("where", [".", "..", "/"])
def test_the_folder_one_works_in_is_not_replaced(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="runs in"):
        Target(where, folder=True, overwrite=True).check()


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "real")
    put(Target(tmp_path / "out", folder=True, overwrite=False), "new")
    assert (tmp_path / "out").is_symlink()
    assert there(tmp_path / "disk" / "real") == "new"


def test_somebody_faster_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out"
    target = Target(path, folder=False, overwrite=False)

    def late() -> None:
        with target.staged() as staging:
            staging.path.write_text("mine")
            path.write_text("theirs")
            staging.publish()

    with pytest.raises(ConfigError, match="exists already"):
        late()
    assert list(tmp_path.iterdir()) == [path]
    assert there(path) == "theirs"


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder in which this process has no special rights, even if it is root's."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)


def test_a_folder_without_write_permission(nobody: Path) -> None:
    (nobody / "read-only").mkdir(mode=0o500)
    (nobody / "closed").mkdir(mode=0)
    for parent in ("read-only", "closed", "read-only/deeper"):
        target = Target(nobody / parent / "out", folder=False, overwrite=False)

        def attempt(target: Target = target) -> None:
            target.check()
            put(target, "new")

        with pytest.raises(OutsideError, match="out cannot be written") as caught:
            attempt()
        assert "permissions" in caught.value.remedy
    (nobody / "closed").chmod(0o700)


def test_a_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutsideError, match="cannot be written"):
        put(Target(tmp_path / "file" / "out", folder=False, overwrite=False), "new")


def killed_at(call: int, target: Target, content: str, rejected: str) -> bool:
    """Writes in a child that kills itself before its `call`-th change of files; whether it did."""
    child = os.fork()
    if child == 0:
        calls = 0
        changes = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "open")

        def hook(event: str, _arguments: tuple) -> None:
            nonlocal calls
            calls += event in changes
            if event in changes and calls == call:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            put(target, content, rejected)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@FOLDERS
@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("rejected", ["", pytest.param("some", marks=pytest.mark.slow)])
def test_killed_before_any_step(
    folder: bool, old: str | None, rejected: str, tmp_path: Path
) -> None:
    path = tmp_path / "data" / "out"
    call = 0
    while True:
        call += 1
        shutil.rmtree(path.parent, ignore_errors=True)
        if old:
            put(Target(path, folder=folder, overwrite=False), old)
        target = Target(path, folder=folder, overwrite=True)
        if not killed_at(call, target, "new", rejected):
            break
        after = there(path)
        assert after in (old, "new") or (folder and after is None)
        if path.parent.exists():
            visible = {entry.name for entry in path.parent.iterdir() if entry.name[0] != "."}
            assert visible <= {"out", target.rejected.name}
        if after == "new" and rejected:
            assert target.rejected.read_text() == rejected
        # The next run takes away what is left, and brings back what was about to be replaced.
        put(Target(tmp_path / "data" / "another", folder=False, overwrite=False), "x")
        assert there(path) in (old, "new")
        assert {entry.name for entry in path.parent.iterdir()} <= {
            *("out", "another", target.rejected.name)
        }
    assert call > 8
    assert there(path) == "new"


def test_only_what_dead_runs_left_is_taken_away(tmp_path: Path) -> None:
    alive = tmp_path / f".mnist-pipeline-{Owner.this()}.abcd"
    elsewhere = tmp_path / ".mnist-pipeline-host~space~1.abcd"
    old = tmp_path / ".mnist-pipeline-host~space~2.abcd"
    other = tmp_path / ".mnist-pipeline-notes"
    for folder in (alive, elsewhere, old, other):
        folder.mkdir()
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    put(Target(tmp_path / "out", folder=False, overwrite=False), "new")
    assert {entry.name for entry in tmp_path.iterdir()} == {
        *("out", alive.name, elsewhere.name, other.name)
    }
