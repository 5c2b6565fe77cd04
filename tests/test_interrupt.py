"""Ctrl-C in every stage, a full disk, a file nobody may read: nothing half-written is left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from small import train_words

from mnist_pipeline.cli import main
from mnist_pipeline.stages.run import STAGES
from mnist_pipeline.store.bundles import why_unusable
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c(stage: str, idx_folder: Path, workspace: Path, capsys, interrupt_at) -> None:
    with interrupt_at(stage):
        assert main(train_words(idx_folder, workspace)) == 130
    output = capsys.readouterr()
    error = json.loads(output.out)["error"]
    assert error["code"] == 130
    assert "first unfinished stage" in error["remedy"]
    assert "Traceback" not in output.err
    assert Registry(Store.open(workspace)).names() in ([], ["digits"])
    assert not list(workspace.rglob("manifest.json"))
    assert not list((workspace / ".scratch").glob("*"))

    assert main(train_words(idx_folder, workspace)) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "promoted"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder whose file system can be resized: a tmpfs of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.integration
def test_a_full_disk_at_any_moment(idx_folder: Path, small_disk: Path, capsys) -> None:
    failures = 0
    for kilobytes in range(16, 4096, 48):
        resize = ["mount", "-o", f"remount,size={kilobytes}k", str(small_disk)]
        subprocess.run(resize, check=True)
        workspace = small_disk / "workspace"
        code = main(train_words(idx_folder, workspace))
        output = capsys.readouterr()
        answer = json.loads(output.out)
        assert "Traceback" not in output.err
        if code == 0:
            break
        failures += 1
        assert code == answer["error"]["code"] == 6
        assert answer["error"]["headline"] == "the disk is full"
        store = Store.open(workspace)
        for name in Registry(store).names():
            for info in Registry(store).versions(name):
                assert why_unusable(store, name, info.version) is None
        shutil.rmtree(workspace)
    assert failures > 5
    assert answer["status"] == "promoted"


@pytest.fixture
def nobody(idx_folder: Path) -> Iterator[Path]:
    """A folder in which this process has no special rights, even if it is root's."""
    main(["validate", f"idx:{idx_folder}", "--quiet"])  # imports everything with full rights
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(idx_folder, folder / "idx")
    root = os.geteuid() == 0
    if root:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 65534, 65534)
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)


def test_an_unreadable_file(nobody: Path, capsys) -> None:
    (nobody / "idx" / "train-labels-idx1-ubyte").chmod(0)
    capsys.readouterr()
    assert main(train_words(nobody / "idx", nobody / "workspace")) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert "may not be read" in error["headline"]
    assert not (nobody / "workspace" / "models").exists()


def test_a_workspace_without_write_permission(nobody: Path, capsys) -> None:
    (nobody / "workspace").mkdir(mode=0o500)
    capsys.readouterr()
    assert main(train_words(nobody / "idx", nobody / "workspace")) == 6
    assert "cannot be written" in json.loads(capsys.readouterr().out)["error"]["headline"]
