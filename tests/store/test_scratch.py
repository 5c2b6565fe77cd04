"""Scratch folders: private, removed afterwards, and swept once nobody needs them."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from mnist_pipeline.store import owner
from mnist_pipeline.store.objects import SCRATCH, SECONDS_UNTIL_ABANDONED, Store
from mnist_pipeline.store.owner import Owner
from mnist_pipeline.store.scratch import move


def test_a_scratch_folder_is_private_empty_and_removed(store: Store) -> None:
    with store.scratch() as one, store.scratch() as other:
        assert one != other
        assert list(one.iterdir()) == list(other.iterdir()) == []
        (one / "deep").mkdir()
        (one / "deep" / "file").write_text("x")
    assert not one.exists()
    assert not other.exists()


def test_a_scratch_folder_is_removed_after_an_error_too(store: Store) -> None:
    folders = []

    def fail() -> None:
        with store.scratch() as folder:
            folders.append(folder)
            (folder / "file").write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not folders[0].exists()


def test_it_lies_on_the_disk_of_the_workspace(folder_store: Store) -> None:
    with folder_store.scratch() as folder:
        assert folder.parent.parent == folder_store.root
        assert folder.stat().st_dev == folder_store.root.stat().st_dev


def test_a_workspace_that_was_removed_meanwhile_is_made_again(folder_store: Store) -> None:
    folder_store.root.rmdir()
    with folder_store.scratch() as folder:
        assert folder.is_dir()


def folder_of(base: Path, name: str, age: float = 0) -> str:
    """Makes a scratch folder that changed so many seconds ago; returns its name."""
    folder = base / name
    folder.mkdir(parents=True)
    (folder / "file").write_text("x")
    then = time.time() - age
    os.utime(folder, (then, then))
    return name


def swept(store: Store, names: list[str]) -> set[str]:
    """Which of these folders go when a scratch folder is asked for."""
    assert store.root
    base = store.root / SCRATCH
    with store.scratch() as own:
        left = {path.name for path in base.iterdir()}
        assert own.name in left
    assert {path.name for path in base.iterdir()} == left - {own.name} <= set(names)
    assert all((base / name / "file").exists() for name in left - {own.name})
    return set(names) - left


def test_a_folder_is_named_after_its_process(folder_store: Store) -> None:
    with folder_store.scratch() as own:
        assert Owner.parse(own.name.rpartition(".")[0]) == Owner.this()


def test_only_the_folders_of_processes_known_to_be_dead_are_swept(
    folder_store: Store, dead_pid: int
) -> None:
    base, this = folder_store.root / SCRATCH, Owner.this()
    dead = dataclasses.replace(this, pid=dead_pid)
    gone = [folder_of(base, f"{dead}.{random}") for random in ("aaaa", "bbbb")]
    kept = [
        f"{this}.aaaa",  # another thread of this process
        f"{dataclasses.replace(this, pid=os.getppid())}.aaaa",
        f"{dataclasses.replace(dead, host='another-host')}.aaaa",
        f"{dataclasses.replace(dead, space='1')}.aaaa",
        f"{this.host}~{this.space}~x.aaaa",
        f"{this.host}.{dead_pid}.aaaa",
        "somebody's folder",
    ]
    for name in kept:
        folder_of(base, name)
    assert swept(folder_store, kept + gone) == set(gone)


@pytest.mark.parametrize("host", ["another-host", "a.b.example.org", ""])
def test_where_nobody_can_tell_a_folder_is_swept_after_a_day(
    folder_store: Store, dead_pid: int, host: str
) -> None:
    base, this = folder_store.root / SCRATCH, Owner.this()
    names = [
        f"{dataclasses.replace(this, host=host)}",
        f"{dataclasses.replace(this, space='1')}",
        f"{this.host}.{dead_pid}",
        "somebody's folder",
    ]
    old = [folder_of(base, f"{name}.old", SECONDS_UNTIL_ABANDONED + 60) for name in names]
    young = [folder_of(base, f"{name}.young", SECONDS_UNTIL_ABANDONED - 60) for name in names]
    assert swept(folder_store, old + young) == set(old)


def test_the_folder_of_a_living_process_is_kept_however_old(folder_store: Store) -> None:
    name = folder_of(folder_store.root / SCRATCH, f"{Owner.this()}.aaaa", 1e7)
    assert swept(folder_store, [name]) == set()


def test_without_proc_age_decides(
    folder_store: Store, dead_pid: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = folder_store.root / SCRATCH
    dead = dataclasses.replace(Owner.this(), pid=dead_pid)
    monkeypatch.setattr(owner, "_PROC", tmp_path / "no-proc")
    old, young = folder_of(base, f"{dead}.old", 1e7), folder_of(base, f"{dead}.young")
    mine = folder_of(base, f"{Owner.this()}.mine")
    assert swept(folder_store, [old, young, mine]) == {old}


def test_what_lies_elsewhere_is_swept_too(
    tmp_path: Path, dead_pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket has no disk: its files in the making lie among everybody's temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = dataclasses.replace(Owner.this(), pid=dead_pid)
    folder_of(tmp_path, f"mnist-pipeline.{dead}.aaaa")
    folder_of(tmp_path, f"mnist-pipeline.{dataclasses.replace(dead, host='x')}.aaaa", 1e7)
    kept = [
        f"mnist-pipeline.{Owner.this()}.aaaa",
        f"mnist-pipeline.{dataclasses.replace(dead, host='x')}.bbbb",
        "mnist-pipeline.backup",
        f"{dead}.aaaa",
    ]
    for name in kept:
        folder_of(tmp_path, name, 0 if name.endswith("bbbb") else 1e7)
    with Store.open("memory://").scratch() as own:
        assert own.parent == tmp_path
        assert own.stat().st_mode & 0o777 == 0o700
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, own.name])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_what_a_killed_process_leaves_behind_is_swept(folder_store: Store) -> None:
    program = (
        "import sys, time\n"
        "from mnist_pipeline.store.objects import Store\n"
        "with Store.open(sys.argv[1]).scratch() as folder:\n"
        "    (folder / 'half').write_text('x')\n"
        "    print(folder, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(folder_store.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        left = Path(process.stdout.readline().strip())
        with folder_store.scratch():
            assert (left / "half").exists()  # it lives, and nobody touches its files
        process.send_signal(signal.SIGKILL)
    assert (left / "half").exists()
    with folder_store.scratch():
        assert not left.exists()
    assert folder_store.list("") == []


def test_a_file_cannot_be_moved_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("new")
    (tmp_path / "a").write_text("not a folder")
    with pytest.raises(OSError, match=r"File exists|Not a directory"):
        move(tmp_path / "file", tmp_path / "a/b")
    assert (tmp_path / "file").exists()


@pytest.mark.parametrize("before", ["mkdir has looked", "the file is moved"])
def test_a_folder_that_is_tidied_away_meanwhile_is_made_again(
    tmp_path: Path, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir, is_dir, folder = Path.mkdir, Path.is_dir, tmp_path / "folder"
    tidied: list[Path] = []

    def tidy(path: Path) -> None:
        if path == folder and not tidied:
            tidied.append(path)
            path.rmdir()

    def mkdir_and_tidy(self: Path, **options: bool) -> None:
        mkdir(self, **options)
        tidy(self)

    def tidy_and_is_dir(self: Path) -> bool:
        tidy(self)  # mkdir(exist_ok=True) asks once it has met with something of that name
        return is_dir(self)

    folder.mkdir()
    (tmp_path / "file").write_text("x")
    if before == "the file is moved":
        monkeypatch.setattr(Path, "mkdir", mkdir_and_tidy)
    else:
        monkeypatch.setattr(Path, "is_dir", tidy_and_is_dir)
    move(tmp_path / "file", folder / "file")
    assert tidied == [folder]
    assert (folder / "file").read_text() == "x"
