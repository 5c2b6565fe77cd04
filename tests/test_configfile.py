"""Configuration as text: `--set`, TOML files, and the way back to TOML."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_pipeline.configfile import (
    load_file,
    load_preset,
    parse_setting,
    presets,
    resolve,
    to_toml,
)
from mnist_pipeline.errors import ConfigError

steady = settings(deadline=None, derandomize=True, database=None)


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
shares = st.floats(0, 1, exclude_max=True)
plain = st.one_of(words, st.booleans(), st.integers(-(10**9), 10**9), shares)
keys = st.from_regex(r"zz_[a-z]{1,8}", fullmatch=True)  # never the name of a field
options = st.dictionaries(
    keys, st.one_of(plain, st.lists(plain, max_size=3), st.dictionaries(words, plain, max_size=2))
)


# --- --set ---


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("name=digits", {"name": "digits"}),
        ("train.learning_rate=1e-3", {"train": {"learning_rate": 0.001}}),
        ("model.hidden=[512, 256]", {"model": {"hidden": [512, 256]}}),
        ("data.use_exam=false", {"data": {"use_exam": False}}),
        ("data.sources=csv:a#b,c=d.csv", {"data": {"sources": "csv:a#b,c=d.csv"}}),
        ("model.init= he ", {"model": {"init": "he"}}),
        (" model.init =he", {"model": {"init": "he"}}),
        ("name=", {"name": ""}),
        ("a.b.c=1", {"a": {"b": {"c": 1}}}),
        ("name=1\nname2=2", {"name": "1\nname2=2"}),  # nothing is cut off in silence
    ],
)
def test_a_setting_is_toml_or_a_bare_word(text: str, layer: dict[str, Any]) -> None:
    assert parse_setting(text) == layer


@pytest.mark.parametrize("text", ["name", "=3", "a..b=1", ".a=1", "a.=1", "a b=1", "", "ä=1"])
def test_a_setting_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="key=value"):
        parse_setting(text)


@steady
@given(value=plain)
def test_a_setting_takes_every_plain_value(value: object) -> None:
    written = to_toml({"v": value}).partition("=")[2].strip()
    assert parse_setting(f"a.b={written}") == {"a": {"b": value}}


# --- files ---


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b"a = 1\nb = \n", "line 2"),
        (b"a = 1\n[data\n", "line 2"),
        (b"a = 1\na = 2\n", "line 2"),
        (b"\n\n\xff = 1\n", "position 2"),
    ],
)
def test_bad_toml_is_refused_with_its_place(tmp_path: Path, text: bytes, place: str) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(text)
    with pytest.raises(ConfigError, match="not valid TOML") as caught:
        load_file(file)
    assert place in caught.value.facts["cause"]
    assert caught.value.facts["file"] == str(file)


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path if kind == "folder" else tmp_path / "none.toml"
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        load_file(path)
    assert caught.value.facts["file"] == str(path)
    assert caught.value.facts["cause"]


# --- round trip ---


@steady
@given(
    sources=st.lists(words, min_size=1, max_size=3),
    model=options,
    shares=st.tuples(shares, shares),
    length=st.sampled_from(["epochs", "iterations"]),
    milestones=st.lists(st.floats(0.01, 0.99), max_size=3),
)
def test_a_configuration_survives_being_written_as_toml(
    sources: list[str],
    model: dict[str, Any],
    shares: tuple[float, float],
    length: str,
    milestones: list[float],
) -> None:
    config = resolve(
        [
            {
                "data": {"sources": sources, "exam_fraction": shares[0]},
                "model": {"kind": "mlp", "dropout": shares[1], **model},
                "train": {length: 3, "milestones": milestones},
            }
        ]
    )
    again = resolve([tomllib.loads(to_toml(config.to_json()))])
    assert again == config
    assert again.to_json() == config.to_json()


@pytest.mark.parametrize("name", presets())
def test_a_preset_survives_too_and_is_json(name: str) -> None:
    config = resolve([load_preset(name)])
    assert resolve([tomllib.loads(to_toml(config.to_json()))]) == config
    assert resolve([json.loads(json.dumps(config.to_json(), allow_nan=False))]) == config


def test_unset_options_are_left_out() -> None:
    text = to_toml(resolve([load_preset("tutorial")]).to_json())
    assert "null" not in text
    assert "epochs" not in text
    assert "deadline" not in text
