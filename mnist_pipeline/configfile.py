"""Where a configuration comes from: presets, TOML files, `--set`, flags, merged into one.

Precedence, lowest first: preset, file, `--set key=value`, flags. Every key is checked; an unknown
one is an error that names the nearest valid ones.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ValidationError

from mnist_pipeline.config import Config
from mnist_pipeline.errors import ConfigError, did_you_mean

Layer = Mapping[str, Any]
DEFAULT_PRESET = "fast"


def presets() -> dict[str, str]:
    """The names of the presets, each with the first line of its file as description."""
    folder = files("mnist_pipeline") / "presets"
    found = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".toml"):
            first = entry.read_text(encoding="utf-8").partition("\n")[0]
            found[entry.name.removesuffix(".toml")] = first.lstrip("# ")
    return found


def load_preset(name: str) -> Layer:
    """The layer of a preset.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in presets():
        raise ConfigError(
            f"there is no preset called {name!r}", remedy=did_you_mean(name, presets())
        )
    text = (files("mnist_pipeline") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def load_file(path: Path) -> Layer:
    """The layer of a TOML file.

    Raises:
        ConfigError: it cannot be read or is not TOML; with line and column.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            "the configuration file cannot be read",
            file=str(path),
            cause=error.strerror,
            remedy="check the path given with --config",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            "the configuration file is not valid TOML",
            file=str(path),
            cause=str(error),
            remedy="mend the line named above",
        ) from None


def parse_setting(text: str) -> Layer:
    """The layer of one `--set section.key=value`; the value is TOML, or a bare word as a string.

    Raises:
        ConfigError: there is no `=`, or no key before it.
    """
    key, separator, value = text.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(re.fullmatch(r"[A-Za-z0-9_-]+", part) for part in parts):
        raise ConfigError(
            f"--set {text!r} is not of the form key=value",
            remedy="for example: --set train.learning_rate=0.001 --set 'model.hidden=[512, 256]'",
        )
    try:
        (parsed,) = tomllib.loads(f"value = {value}").values()
    except (ValueError, RecursionError):  # no TOML, more than one value, or too deep
        parsed = value.strip()
    layer: dict[str, Any] = {parts[-1]: parsed}
    for part in reversed(parts[:-1]):
        layer = {part: layer}
    return layer


def resolve(layers: Sequence[Layer]) -> Config:
    """One configuration from layers, lowest precedence first.

    Where a layer names another `kind`, the options that lower layers gave to the former plugin go.

    Raises:
        ConfigError: a key is unknown (the nearest are named) or a value is wrong.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(merged, layer)
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise _explain(error) from None


def explained_toml(config: Config) -> str:
    """A configuration as TOML, each key with what it means behind it."""
    lines: list[str] = []
    meanings = _keys_of(Config)
    for line in to_toml(config.to_json()).splitlines():
        if line.startswith("["):
            meanings = _keys_of(_section(line.strip("[]").split(".")))
        elif " = " in line:
            meaning = meanings.get(line.partition(" = ")[0])
            line = f"{line:<34}  # {meaning}" if meaning else line
        lines.append(line)
    return "\n".join(lines) + "\n"


def _section(path: Sequence[str]) -> Any:
    """The class of a table, `["train", "augment"]`; None for those of a plugin's own."""
    section: Any = Config
    for name in path:
        known = getattr(section, "model_fields", {})
        if name in known:
            section = known[name].annotation
        else:
            section = get_type_hints(section).get(name) if is_dataclass(section) else None
    return section


def _keys_of(section: Any) -> dict[str, str | None]:
    """The keys of a table, each with its meaning."""
    known = getattr(section, "model_fields", None)
    if known is not None:
        return {name: field.description for name, field in known.items()}
    if is_dataclass(section):
        return {field.name: field.metadata["description"] for field in fields(section)}
    return {}


def to_toml(value: Mapping[str, Any], name: str = "") -> str:
    """A mapping as TOML: plain keys first, then its tables; `name` is that of the table itself."""
    plain = [f"{_key(k)} = {_toml(v)}" for k, v in value.items() if not isinstance(v, Mapping)]
    blocks = ["\n".join([f"[{name}]", *plain] if name else plain) + "\n"]
    for key, table in value.items():
        if isinstance(table, Mapping):
            blocks.append(to_toml(table, f"{name}.{_key(key)}" if name else _key(key)))
    return "\n".join(blocks)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: Any) -> str:
    """A value as TOML: as in JSON, but no surrogate pairs, and DEL must be escaped."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _merge(below: Layer, above: Layer) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        if isinstance(lower, Mapping) and isinstance(value, Mapping):
            replaced = "kind" in value and not _same_kind(value["kind"], lower.get("kind"))
            merged[key] = dict(value) if replaced else _merge(lower, value)
            # One length of training replaces the other.
            for one, other in (("epochs", "iterations"), ("iterations", "epochs")):
                if key == "train" and one in value and other not in value:
                    merged[key].pop(other, None)
        else:
            merged[key] = value
    return merged


def _same_kind(one: Any, other: Any) -> bool:
    """Whether two plugin names mean the same plugin: `mlp` and `mlp.v1` may."""
    bases = {str(name).partition(".v")[0] for name in (one, other)}
    versions = {str(name) for name in (one, other) if ".v" in str(name)}
    return len(bases) == 1 and len(versions) < 2


def _explain(error: ValidationError) -> ConfigError:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path) or "the configuration"
    no_table = first["type"] == "dict_type" and path[0] == "publish"  # nor one of its keys
    if no_table or first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        valid = _keys_of(_section(path[:-1]))
        return ConfigError(f"unknown key {key!r}", remedy=did_you_mean(path[-1], valid))
    if first["type"] in ("model_type", "model_attributes_type", "dataclass_type"):
        return ConfigError(
            f"{key!r} is a section, not a value", remedy=f"write [{key}] and its keys"
        )
    message = first["msg"].removeprefix("Value error, ")
    return ConfigError(
        f"{key} = {first['input']!r} is not valid" if path[1:] or path == ["name"] else message,
        cause=message,
        remedy="`mnist-pipeline train --show-config` prints every key",
    )
