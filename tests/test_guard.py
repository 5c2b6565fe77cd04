"""Strangers at work: whatever a plugin of another package does, it is told with its name."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from small import SETTING_WORDS
from strangers import NAMED, PLUGIN, SOURCE, Install, assert_told, run, spec

from mnist_pipeline import guard, plugins
from mnist_pipeline.cli import main
from mnist_pipeline.errors import ConfigError
from mnist_pipeline.evaluate.gate import Gate
from mnist_pipeline.guard import BrokenPluginError, calling
from mnist_pipeline.plugins import blamed, build, describe, load, resolve


@pytest.fixture
def words(workspace: Path) -> list[str]:
    """The command line of a small training."""
    return ["train", "--engine", "plain", "--workspace", str(workspace), *SETTING_WORDS]


FIT = (
    "def fit(self, blocks):\n        state = super().fit(blocks)\n"
    "        if late(): {}\n        return state"
)
TRANSFORM = (
    "def affine(self, state): return None\n"
    "    def transform(self, state, images, out=None):\n"
    "        x = super().transform(state, images, out)\n        if late(): {}\n        return x"
)
JUDGE = "def judge(self, case):\n        if late(): {}\n        return super().judge(case)"
COMPILE = (
    "def compile(self, parameters, normalizer):\n"
    "        predictor = super().compile(parameters, normalizer)\n"
    "        if late(): {}\n        return predictor"
)


def installed(install: Install, seam: str, base: str, body: str) -> None:
    code = PLUGIN.replace("BASE", base).replace("BODY", body)
    install("acme", {"thing.v1": "Thing"}, code, seam)


@pytest.mark.parametrize(
    ("seam", "base", "body", "told"),
    [
        ("normalizer", "Scale", FIT.format("sys.exit(0)"), "SystemExit"),
        ("normalizer", "Scale", FIT.format("return None"), "fit returns a NoneType"),
        ("normalizer", "Scale", FIT.format("state['x'] = np.zeros(3)"), "TypeError"),
        ("normalizer", "Scale", TRANSFORM.format("sys.exit(0)"), "SystemExit"),
        ("normalizer", "Scale", TRANSFORM.format("return x[:, :100]"), "float32 (1, 100)"),
        ("normalizer", "Scale", TRANSFORM.format("x[:] = np.nan"), "not finite"),
        ("gate", "Floors", JUDGE.format("sys.exit(0)"), "SystemExit"),
        ("gate", "Floors", JUDGE.format("return None"), "NoneType is no Finding"),
        ("model", "Softmax", COMPILE.format("sys.exit(0)"), "SystemExit"),
        ("model", "Softmax", COMPILE.format("return None"), "no Predictor"),
        ("model", "Softmax", COMPILE.format("predictor._network = lambda x: 1 // 0"), "ZeroDiv"),
    ],
)
def test_what_a_plugin_does_after_its_try_out_is_its_own(
    install: Install, capsys, words: list[str], seam: str, base: str, body: str, told: str
) -> None:
    installed(install, seam, base, body)
    found = run(capsys, *words, "--source", "synthetic:n=400", "--set", NAMED[seam])
    assert told in str(assert_told(*found, seam))


@pytest.mark.parametrize(
    ("statement", "words_of_it"),
    [
        ("raise RuntimeError('https://me:hunter2@host/')", "RuntimeError: https://…@host/"),
        ("raise ConfigError('no', at='https://me:hunter2@host/')", "no"),
        ("return 'https://me:hunter2@host/x'", "https://…@host/x"),
        ("return 'a\\udcff'", "a text"),
        ("return None", "a text"),
        ("sys.exit(0)", "SystemExit: 0"),
        ("raise BaseException('boom')", "BaseException: boom"),
    ],
)
def test_a_publishers_words_are_kept_without_secrets(
    install: Install,
    capsys,
    words: list[str],
    workspace: Path,
    statement: str,
    words_of_it: str,
) -> None:
    installed(install, "publisher", "object", f"def publish(self, version): {statement}")
    words += ["--source", "synthetic:n=400", "--set", NAMED["publisher"]]
    code, told, log = run(capsys, *words)
    (delivery,) = told["published"]
    assert code == (0 if delivery["ok"] else 6)
    assert words_of_it in str(delivery)
    assert "Traceback" not in log
    kept = [path.read_bytes() for path in workspace.rglob("*.json")]
    assert kept
    assert not any(b"hunter2" in each for each in [*kept, str(told).encode(), log.encode()])
    (record,) = (workspace / "models/digits/published/1").iterdir()
    assert json.loads(record.read_bytes())["package"] == "acme 1.5"


def test_a_guarded_plugin_is_the_plugin_itself(install: Install) -> None:
    installed(install, "gate", "Floors", 'width: int = option(3, "how wide")')
    bare, thing = (build("gate", "thing", {"width": 4}, bare=each) for each in (True, False))
    assert dataclasses.asdict(thing) == dataclasses.asdict(bare)
    assert repr(thing) == repr(bare)
    assert isinstance(thing, Gate)
    assert isinstance(thing, load("gate", "thing"))
    assert dataclasses.replace(thing, width=5).width == 5
    assert thing == build("gate", "thing", {"width": 4})
    assert [row.name for row in describe(type(thing))][-1] == "width"
    with pytest.raises(dataclasses.FrozenInstanceError):
        thing.width = 5
    for again in (pickle.loads(pickle.dumps(thing)), copy.deepcopy(thing)):
        assert (again, type(again)) == (thing, type(thing))


def test_a_plugin_may_catch_what_it_raises_itself(install: Install) -> None:
    body = """def affine(self, state): return state["no such key"]
    def fit(self, blocks):
        try:
            return self.affine({})
        except KeyError:
            return {"caught": True}"""
    installed(install, "normalizer", "Scale", body)
    thing = build("normalizer", "thing", {})
    assert thing.fit(iter([])) == {"caught": True}
    with pytest.raises(BrokenPluginError, match=r"'thing\.v1' went wrong"):
        thing.affine({})


def test_what_is_explained_or_nobodys_fault_passes(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_interruptions", [KeyboardInterrupt])
    install("acme", {"thing.v1": "Thing"})
    info = resolve("source", "thing")

    class Cancelled(BaseException):
        pass

    for error in (ConfigError("no"), MemoryError(), OSError(28, "full"), KeyboardInterrupt()):
        with pytest.raises(type(error)), calling(info):
            raise error
    with pytest.raises(BrokenPluginError), calling(info):
        raise Cancelled
    guard.interrupted_by(Cancelled)
    with pytest.raises(Cancelled), calling(info):
        raise Cancelled
    with pytest.raises(SystemExit), calling(resolve("source", "csv")):  # ours: a bug, told as one
        raise SystemExit


def test_of_several_plugins_in_a_module_the_one_at_work_is_blamed(install: Install) -> None:
    code = SOURCE.replace("return [Part(self)]", "1 // 0")
    install("acme", {"other.v1": "Other", "thing.v1": "Thing"}, code)
    thing = build("source", "thing", {}, bare=True)  # so that it does not go through the guard
    with pytest.raises(ZeroDivisionError) as caught:
        thing.parts()
    known = blamed(caught.value)
    assert known is not None
    assert "'thing.v1'" in known.headline


def test_an_exit_that_is_not_clicks_is_no_success(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(plugin: object) -> None:
        sys.exit(0)

    monkeypatch.setattr(plugins, "describe", leave)
    code, told, _ = run(capsys, "plugins", "show", "csv")
    assert code == 1
    assert "SystemExit: 0" in told["error"]["headline"]


def test_what_is_gone_is_told_with_its_package(
    install: Install, capsys, words: list[str], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "def publish(self, version): return 'a shelf'\n"
    body += "@dataclasses.dataclass(frozen=True)\nclass Norm(Scale):\n    pass\n"
    code = PLUGIN.replace("BASE", "object").replace("BODY", body)
    install("acme", {"thing.v1": "Thing"}, code, "publisher")
    install("norms", {"norm.v1": "Norm"}, code, "normalizer")
    words += ["--source", "synthetic:n=400", "--set", "normalize.kind=norm"]
    assert run(capsys, *words, "--set", NAMED["publisher"])[0] == 0
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not p.endswith("site")])
    plugins.available.cache_clear()
    at = ("--workspace", str(workspace))
    for command, package in (
        (("models", "publish", "digits@1", "--to", "thing"), "acme==1.5"),
        (("reproduce", "digits@1"), "norms==1.5"),
    ):
        code, told, _ = run(capsys, *command, *at)
        assert code == 6, told
        assert f"pip install {package}" in told["error"]["remedy"]
        assert main([*command, *at]) == 6  # for people too
        assert package in capsys.readouterr().err
    code, told, _ = run(capsys, "models", "publish", "digits@1", "--to", "../thing", *at)
    assert (code, told["error"]["kind"]) == (2, "config")


LOUD = """
import atexit, ctypes, os, subprocess, sys
print("FROM PYTHON", flush=True)
print("LATER")
os.write(1, b"FROM NATIVE CODE\\n")
subprocess.run([sys.executable, "-c", "print('FROM A CHILD')"])
ctypes.CDLL(None).printf(b"HELD BACK\\n")
atexit.register(print, "AT EXIT")
"""


def test_with_json_a_plugin_prints_to_stderr(install: Install, tmp_path: Path) -> None:
    install("acme", {"thing.v1": "Thing"}, SOURCE + LOUD)
    done = subprocess.run(
        [Path(sys.executable).parent / "mnist-pipeline", "--json", "plugins", "show", "thing"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "thing.v1"
    assert len(done.stdout.splitlines()) == 1
    for said in ("PYTHON", "LATER", "NATIVE CODE", "A CHILD", "HELD BACK", "AT EXIT"):
        assert said in done.stderr


def test_with_json_prints_of_a_plugin_in_this_process_go_to_stderr_too(
    install: Install, capsys
) -> None:
    install("acme", {"thing.v1": "Thing"}, SOURCE)
    code, told, log = run(capsys, "validate", spec(does="print('loud')"))
    assert (code, told["rows"]) == (0, 400)
    assert "loud" in log
    sys.stdout.write("afterwards\n")
    assert capsys.readouterr().out == "afterwards\n"
