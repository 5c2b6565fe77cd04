"""Publishers in a run: asked once a version is visible, undoing nothing, made up for later."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_pipeline.cli import main
from mnist_pipeline.configfile import parse_setting, resolve
from mnist_pipeline.errors import ConfigError
from mnist_pipeline.stages.resolve import resolved
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry

SHELF = """
from __future__ import annotations
import dataclasses, os
from mnist_pipeline.errors import OutsideError
from mnist_pipeline.plugins import option

@dataclasses.dataclass(frozen=True)
class Shelf:
    folder: str = option("shelf", "where versions are put")
    mood: str = option("good", "how it behaves")

    def publish(self, version):
        mood = os.environ.get("MOOD", self.mood)
        if mood == "down":
            raise OutsideError("nobody answers", remedy="start the server")
        if mood == "mad":
            raise KeyError("tracking")
        if mood == "exits":
            raise SystemExit(3)
        if mood == "mute":
            return None
        manifest = version.manifest
        assert version.store.exists(f"models/digits/versions/{manifest.version}/manifest.json")
        with open(f"{self.folder}-{manifest.version}", "a") as file:
            file.write("champion " if version.is_champion else "held ")
        return f"{self.folder}-{manifest.version}"
"""
TO = ("publish.to=shelf",)


@pytest.fixture
def shelf(install: Callable[..., str], tmp_path: Path) -> str:
    """The option that says where the publisher `shelf` puts versions."""
    install("acme", {"shelf.v1": "Shelf"}, SHELF, "publisher")
    return f"publish.shelf.folder={tmp_path / 'shelf'}"


def put(tmp_path: Path, version: int) -> str:
    path = tmp_path / f"shelf-{version}"
    return path.read_text() if path.exists() else ""


def test_a_version_goes_there_once(train, idx_folder, tmp_path, workspace, shelf) -> None:
    first = train(f"idx:{idx_folder}", *TO, shelf)
    assert [d.to_json()["ok"] for d in first.published] == [True]
    assert first.exit_code == 0
    again = train(f"idx:{idx_folder}", *TO, shelf)
    assert (again.outcome.status, again.published) == ("unchanged", first.published)
    assert put(tmp_path, 1) == "champion "
    # Where a version goes is no part of what it is: without a publisher it is the same run.
    assert train(f"idx:{idx_folder}").outcome.status == "unchanged"
    manifest = Registry(Store.open(workspace)).manifest("digits", 1)
    assert manifest.config["publish"] == {"promote": True}


@pytest.mark.parametrize(
    ("mood", "words", "package"),
    [
        ("down", "nobody answers", None),
        ("mad", "went wrong", "acme 1.5"),
        ("exits", "went wrong", "acme 1.5"),
        ("mute", "breaks its protocol: publish returns where", "acme 1.5"),
    ],
)
def test_a_publisher_that_fails_stops_nothing_and_is_asked_again(
    train, idx_folder, tmp_path, workspace, shelf, monkeypatch, mood, words, package
) -> None:
    monkeypatch.setenv("MOOD", mood)
    result = train(f"idx:{idx_folder}", *TO, shelf)
    assert (result.outcome.status, result.outcome.exit_code, result.exit_code) == ("promoted", 0, 6)
    assert Registry(Store.open(workspace)).find("digits").version == 1
    (told,) = result.to_json()["published"]
    assert words in told["error"]["headline"]
    assert told["error"]["facts"].get("package") == package
    assert "mnist-pipeline models publish digits@1 --to shelf" in told["error"]["remedy"]
    end = json.loads(next(workspace.glob("runs/*/end.json")).read_text())
    assert end["published"][0]["ok"] is False
    monkeypatch.delenv("MOOD")
    again = train(f"idx:{idx_folder}", *TO, shelf)
    assert (again.outcome.status, again.exit_code) == ("unchanged", 0)
    assert put(tmp_path, 1) == "champion "


def test_a_blocked_version_goes_there_and_its_exit_code_stays(
    train, idx_folder, tmp_path, shelf, monkeypatch
) -> None:
    blocked = train(f"idx:{idx_folder}", *TO, shelf, "gate.min_accuracy=0.999")
    assert (blocked.outcome.status, put(tmp_path, 1)) == ("blocked", "held ")
    monkeypatch.setenv("MOOD", "down")
    again = train(f"idx:{idx_folder}", *TO, shelf, "gate.min_accuracy=0.999", force="train")
    assert again.exit_code == 4


def test_what_became_champion_since_goes_there_again(train, idx_folder, tmp_path, shelf) -> None:
    words = (f"idx:{idx_folder}", *TO, shelf)
    train(*words, "publish.promote=false")
    store = tmp_path / "workspace"
    arguments = ["models", "promote", "digits@1", "--reason", "why not", "--workspace", str(store)]
    assert main(arguments) == 0
    train(*words, "publish.promote=false")
    assert put(tmp_path, 1) == "held champion "


def test_models_publish_knows_where_it_was_to_go(
    train, idx_folder, tmp_path, workspace, shelf, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("MOOD", "down")
    train(f"idx:{idx_folder}", *TO, shelf)
    words = ["models", "publish", "digits@1", "--to", "shelf", "--workspace", str(workspace)]
    assert main([*words, "--json"]) == 6
    assert json.loads(capsys.readouterr().out)["error"]["remedy"] == "start the server"
    monkeypatch.delenv("MOOD")
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["to"], told["ok"], told["where"]) == ("shelf.v1", True, str(tmp_path / "shelf-1"))
    assert main([*words, "--set", f"folder={tmp_path / 'other'}"]) == 0
    assert (tmp_path / "other-1").exists()
    assert main([*words, "--set", f"folder={tmp_path / 'no' / 'folder'}"]) == 6
    assert main(words) == 0  # what failed is not remembered
    assert put(tmp_path, 1) == "champion "
    assert (tmp_path / "other-1").read_text() == "champion champion "
    assert main([*words, "--set", "fodler=x"]) == 2
    assert main([*words[:4], "shelv", *words[5:]]) == 2
    capsys.readouterr()
    assert main(["models", "show", "digits@1", "--workspace", str(workspace)]) == 0
    assert "published" in capsys.readouterr().out


def test_without_a_version_nobody_is_asked(train, idx_folder, tmp_path, shelf) -> None:
    result = train(f"idx:{idx_folder}", *TO, shelf, "data.use_exam=false")
    assert result.published == ()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["publish.to=shelv"], "there is no publisher called 'shelv'"),
        (["publish.shelv.folder=x"], "unknown key 'publish.shelv'"),
        (["publish.to=shelf", "publish.shelf.fodler=x"], "has no option 'fodler'"),
        (['publish.to=["shelf", "shelf.v1"]'], "names 'shelf' twice"),
        (["publish.to=shelf.v2"], "'shelf.v2', but there is 'shelf.v1'"),
    ],
)
def test_a_mistake_is_told_before_any_work(shelf: str, settings: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(resolve([parse_setting(setting) for setting in settings]))
    assert words in str(caught.value)


def test_the_table_of_a_publisher_that_is_not_asked_may_stand_there(shelf: str) -> None:
    config = resolved(resolve([parse_setting(shelf)]))
    assert config.publish.to == []
    assert resolved(config) == config
