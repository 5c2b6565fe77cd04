"""Scratch folders: private, removed afterwards, and swept once their process is dead."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_pipeline.store.objects import SCRATCH, Store


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


def test_only_the_folders_of_dead_processes_of_this_host_are_swept(
    folder_store: Store, dead_pid: int
) -> None:
    base = folder_store.root / SCRATCH
    base.mkdir()
    host = socket.gethostname()
    kept = [
        f"{host}.{os.getpid()}.aaaa",  # another thread of this process
        f"{host}.{os.getppid()}.aaaa",
        f"other-host.{dead_pid}.aaaa",
        f"{host}.x.aaaa",
        "somebody's folder",
    ]
    swept = [f"{host}.{dead_pid}.aaaa", f"{host}.{dead_pid}.bbbb"]
    for name in kept + swept:
        (base / name).mkdir()
        (base / name / "file").write_text("x")
    with folder_store.scratch() as own:
        assert sorted(path.name for path in base.iterdir()) == sorted([*kept, own.name])
    assert sorted(path.name for path in base.iterdir()) == sorted(kept)


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
