"""Plugins: found without an import, resolved to the newest, built from checked options."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small import SETTING_WORDS

from mnist_pipeline import plugins
from mnist_pipeline.cli import main
from mnist_pipeline.errors import ConfigError, OutsideError
from mnist_pipeline.plugins import SEAMS, available, build, describe, load, option, resolve

Install = Callable[..., str]


def names(seam: str = "source") -> list[str]:
    return [info.name for info in available(seam)]


@pytest.mark.parametrize("seam", SEAMS)
def test_what_is_built_in_can_be_loaded_and_described(seam: str) -> None:
    built_in = [info for info in available(seam) if info.package == "mnist-pipeline"]
    assert built_in or seam == "publisher"
    for info in built_in:
        assert all(row.help for row in describe(load(seam, info.name))), info.name
        assert info.seam == seam


def test_listing_imports_no_plugin(install: Install) -> None:
    module = install("acme", {"thing.v1": "Thing"})
    assert "thing.v1" in names()
    assert resolve("source", "thing").name == "thing.v1"
    assert module not in sys.modules
    load("source", "thing")
    assert module in sys.modules


def test_a_plugin_says_where_it_comes_from(install: Install) -> None:
    install("acme", {"thing.v12": "Thing"})
    info = resolve("source", "thing")
    assert (info.package, info.package_version, info.seam) == ("acme", "1.5", "source")
    assert (info.base_name, info.version) == ("thing", 12)


def test_a_name_without_version_is_the_newest_one(install: Install) -> None:
    install("acme", {f"thing.v{number}": "Thing" for number in (2, 10, 9, 1)})
    assert resolve("source", "thing").name == "thing.v10"
    assert resolve("source", "thing.v2").name == "thing.v2"
    listed = [name for name in names() if name.startswith("thing")]
    assert listed == ["thing.v1", "thing.v2", "thing.v9", "thing.v10"]


@pytest.mark.parametrize("name", ["thing", "thing.v0", "Thing.v1", "thing.v1x", "a-b.v1", ".v1"])
def test_an_entry_point_without_a_proper_versioned_name_is_no_plugin(
    install: Install, name: str
) -> None:
    before = names()
    install("acme", {name: "Thing"})
    assert names() == before
    with pytest.raises(ConfigError):
        resolve("source", name)


@pytest.mark.parametrize(
    ("seam", "name", "near"),
    [("model", "mpl", "mlp"), ("model", "mlp.v99", "mlp"), ("normalizer", "scael", "scale")],
)
def test_an_unknown_name_gives_the_nearest(seam: str, name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no {seam} called '{name}'") as caught:
        resolve(seam, name)
    assert repr(near) in caught.value.remedy


def test_a_name_like_no_other_gives_all_of_them() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("gate", "zzzz")
    for info in available("gate"):
        assert repr(info.base_name) in caught.value.remedy


def test_a_plugin_of_another_seam_is_unknown() -> None:
    with pytest.raises(ConfigError):
        resolve("normalizer", "mlp")


@pytest.mark.parametrize(
    "code",
    [
        "raise RuntimeError('boom')",
        "import no_such_module_anywhere",
        "def broken(:",
        "Thing = object(",
        "import sys; sys.exit(0)",
        "",  # the module is fine, but has no such name
    ],
)
def test_a_broken_package_is_named_and_stops_only_its_own_plugins(
    install: Install, code: str
) -> None:
    install("wrecked", {"wreck.v1": "Thing"}, code)
    install("acme", {"thing.v1": "Thing"})
    assert {"wreck.v1", "thing.v1", "csv.v1"} <= set(names())
    assert dataclasses.is_dataclass(load("source", "thing"))
    with pytest.raises(OutsideError, match=r"'wreck\.v1' cannot be imported") as caught:
        load("source", "wreck")
    assert caught.value.facts["package"] == "wrecked 1.5"
    assert caught.value.facts["cause"]
    assert "wrecked" in caught.value.remedy


@pytest.mark.parametrize("attribute", ["NotADataclass", "function", "Literal"])
def test_what_is_no_dataclass_is_no_plugin(install: Install, attribute: str) -> None:
    install("acme", {"thing.v1": attribute})
    with pytest.raises(OutsideError, match="not a dataclass") as caught:
        load("source", "thing")
    assert "acme" in caught.value.facts["package"]


def test_one_name_in_two_packages_is_refused_with_both(install: Install) -> None:
    install("acme", {"thing.v1": "Thing"})
    install("zenith", {"thing.v1": "Thing"})
    for name in ("thing", "thing.v1"):
        with pytest.raises(ConfigError, match="2 packages have a source called") as caught:
            resolve("source", name)
        assert caught.value.facts["packages"] == "acme, zenith"


def test_a_rivalry_over_an_old_version_does_not_touch_the_newest(install: Install) -> None:
    install("acme", {"thing.v1": "Thing", "thing.v2": "Thing"})
    install("zenith", {"thing.v1": "Thing"})
    assert resolve("source", "thing").package == "acme"
    with pytest.raises(ConfigError):
        resolve("source", "thing.v1")


def test_options_reach_the_plugin_as_their_types(install: Install) -> None:
    install("acme", {"thing.v1": "Thing"})
    thing = build("source", "thing", {"path": "a", "count": "7", "sizes": [3, 4]})
    assert (thing.path, thing.count, thing.mode, thing.sizes) == ("a", 7, "fast", (3, 4))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": "a", "cout": 1}, ["no option 'cout'", "'count'"]),
        ({"path": "a", "zzzzzz": 1}, ["no option 'zzzzzz'", "'mode'", "'path'"]),
        ({"count": 1}, ["needs the option 'path'", "plugins show thing"]),
        ({"path": "a", "count": "many"}, ["count = 'many'", "valid integer"]),
        ({"path": "a", "count": 1.5}, ["count = 1.5"]),
        ({"path": "a", "count": None}, ["count = None"]),
        ({"path": "a", "mode": "medium"}, ["mode = 'medium'", "'fast'", "'slow'"]),
        ({"path": "a", "sizes": [1, "x"]}, ["sizes.1 = 'x'"]),
        ({"path": "a", "count": 13}, ["cannot take these options", "13 brings bad luck"]),
    ],
)
def test_a_wrong_option_is_a_config_error_that_names_it(
    install: Install, options: dict[str, object], words: list[str]
) -> None:
    install("acme", {"thing.v1": "Thing"})
    with pytest.raises(ConfigError) as caught:
        build("source", "thing", options)
    for word in words:
        assert word in str(caught.value)


def test_the_options_given_are_left_as_they_were(install: Install) -> None:
    install("acme", {"thing.v1": "Thing"})
    options = {"path": "a", "sizes": [1]}
    build("source", "thing", options)
    assert options == {"path": "a", "sizes": [1]}


def test_description_has_every_option_in_order(install: Install) -> None:
    install("acme", {"thing.v1": "Thing"})
    rows = [dataclasses.astuple(row) for row in describe(load("source", "thing"))]
    assert rows == [
        ("path", "str", "(required)", "where it lies"),
        ("count", "int", "3", "how many"),
        ("mode", "Literal['fast', 'slow']", "'fast'", "how"),
        ("sizes", "tuple[int, ...]", "(1, 2)", "sizes"),
    ]


def test_description_leaves_out_what_cannot_be_given() -> None:
    @dataclasses.dataclass(frozen=True)
    class Plugin:
        given: int = option(1, "an option")
        derived: int = dataclasses.field(init=False, default=2)
        many: list[int] = dataclasses.field(default_factory=list)

    rows = {row.name: row.default for row in describe(Plugin)}
    assert rows == {"given": "1", "many": "[]"}
    assert plugins.SEAMS.keys() == {"source", "normalizer", "model", "gate", "publisher"}


FOREIGN = """
from __future__ import annotations
import dataclasses
from mnist_pipeline.evaluate.gate import Finding, Floors
from mnist_pipeline.model.normalize import Scale
from mnist_pipeline.plugins import option
from mnist_pipeline.sources.synthetic import Synthetic

@dataclasses.dataclass(frozen=True)
class Thing(BASE):
"""


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any], str]:
    code = main([*words, "--json"])
    told = capsys.readouterr()
    return code, json.loads(told.out), told.err


@pytest.mark.parametrize(
    ("seam", "base", "body", "words"),
    [
        ("normalizer", "Scale", "def fit(self, blocks): return None", "fit returns a dict"),
        ("normalizer", "Scale", "def fit(self, blocks): raise KeyError('x')", "fit goes through"),
        ("gate", "Floors", "def judge(self, case): return 'promote'", "Finding"),
        ("source", "Synthetic", "def parts(self): return None", "no list"),
        ("source", "Synthetic", "def parts(self): raise RuntimeError('boom')", "went wrong"),
        ("source", "Synthetic", "def parts(self): return [1]", "has no name"),
    ],
)
def test_a_plugin_that_breaks_its_protocol_is_told_with_its_package(
    install: Install, capsys, workspace: Path, seam: str, base: str, body: str, words: str
) -> None:
    install("acme", {"thing.v1": "Thing"}, FOREIGN.replace("BASE", base) + f"    {body}\n", seam)
    named = {
        "normalizer": ["--set", "normalize.kind=thing"],
        "gate": ["--set", 'gate.rules=["thing"]'],
        "source": ["--source", "thing:n=400"],
    }[seam]
    common = ["train", "--engine", "plain", "--workspace", str(workspace), *SETTING_WORDS]
    source = [] if seam == "source" else ["--source", "synthetic:n=400"]
    code, told, log = run(capsys, *common, *source, *named)
    assert code == 6
    assert words in told["error"]["headline"]
    assert "'thing.v1'" in told["error"]["headline"]
    assert told["error"]["facts"]["package"] == "acme 1.5"
    assert "Traceback" not in log
    # Whoever does not use it does not notice it.
    assert run(capsys, *common, "--source", "synthetic:n=400")[0] == 0


def test_an_error_in_the_middle_of_a_run_is_the_plugins(
    install: Install, capsys, workspace: Path
) -> None:
    body = "    def fit(self, blocks):\n        rows = sum(len(b) for b in blocks)\n"
    body += "        if not rows: return super().fit(iter([]))\n"
    body += "        return {'pixels': 784} if rows < 100 else 1 // 0\n"
    install("acme", {"thing.v1": "Thing"}, FOREIGN.replace("BASE", "Scale") + body, "normalizer")
    words = ["train", "--engine", "plain", "--workspace", str(workspace), *SETTING_WORDS]
    words += ["--source", "synthetic:n=400", "--set", "normalize.kind=thing"]
    code, told, log = run(capsys, *words)
    assert (code, told["error"]["facts"]["package"]) == (6, "acme 1.5")
    assert "ZeroDivisionError" in told["error"]["facts"]["cause"]
    assert "Traceback" not in log


def test_a_version_whose_plugin_is_gone_names_the_package(
    install: Install, capsys, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        "acme", {"thing.v2": "Thing"}, FOREIGN.replace("BASE", "Scale") + "    pass\n", "normalizer"
    )
    words = ["train", "--engine", "plain", "--workspace", str(workspace), *SETTING_WORDS]
    words += ["--source", "synthetic:n=400"]
    assert run(capsys, *words, "--set", "normalize.kind=thing")[0] == 0
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not p.endswith("site")])
    available.cache_clear()
    code, told, _ = run(capsys, "models", "verify", "digits@1", "--workspace", str(workspace))
    error = told["versions"][0]["error"]
    assert (code, error["facts"]["package"]) == (6, "acme 1.5")
    assert "pip install acme==1.5" in error["remedy"]
    for command in (["models", "list"], ["models", "show", "digits@1"], ["plugins"]):
        assert run(capsys, *command, "--workspace", str(workspace))[0] == 0
    code, told, _ = run(capsys, *words, "--set", "normalize.kind=thing")
    assert (code, told["error"]["kind"]) == (2, "config")
    # The champion cannot be asked, so nobody takes its place unseen.
    code, told, _ = run(capsys, *words, "--set", "train.seed=5")
    assert told["status"] == "held"
    assert told["reasons"][0].startswith("champion_unusable")
