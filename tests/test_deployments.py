"""What lies in `deployments/`: valid, pinned, without root, with health checks, and complete."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from mnist_pipeline.cli import main
from mnist_pipeline.configfile import load_file, resolve

ROOT = Path(__file__).parents[1]
DEPLOYMENTS = ROOT / "deployments"
SYSTEMD = shutil.which("systemd-analyze")
UNITS = sorted((DEPLOYMENTS / "systemd").glob("*.service"))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOYMENTS / "compose.yaml").read_text()))


def dockerfile() -> list[tuple[str, str]]:
    """Its instructions, each with its words."""
    text = (DEPLOYMENTS / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    # `CMD` of a HEALTHCHECK is indented: it belongs to the line before.
    joined = re.sub(r"\n\s+", " ", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.split("\n"))]


def test_the_image_is_pinned_and_without_root() -> None:
    instructions = dockerfile()
    for base in (rest for word, rest in instructions if word == "FROM"):
        assert re.match(r"python:3\.\d+\.\d+-slim-\w+( AS build)?$", base), base
    (install,) = [rest for word, rest in instructions if "pip install" in rest]
    assert "-c constraints.txt" in install
    words = [word for word, _ in instructions]
    final = instructions[len(words) - words[::-1].index("FROM") :]
    assert ("USER", "10001:10001") in final
    assert [word for word, _ in final if word == "HEALTHCHECK"]
    assert words.index("HEALTHCHECK") > words.index("USER")


def test_the_image_is_made_of_files_that_are_there() -> None:
    copied = [
        source
        for word, rest in dockerfile()
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    ]
    ignore = (DEPLOYMENTS / "Dockerfile.dockerignore").read_text().splitlines()
    kept = [line[1:] for line in ignore if line.startswith("!")]
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(Path(source).match(pattern) for pattern in kept), source
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = [project["project"]["readme"], *project["project"]["license-files"]]
    assert {*needed, *project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]} < {*copied}
    assert ":" + project["project"]["version"] in (DEPLOYMENTS / "compose.yaml").read_text()


def test_services_are_pinned_without_root_and_healthy(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"database", "server", "deploy", "worker"}
    for name, service in services.items():
        assert re.search(r":\d+(\.\d+)+$", service["image"]), name
        assert service["security_opt"] == ["no-new-privileges:true"]
        if name != "database":  # whose image drops its rights itself
            assert service["user"] == "10001:10001"
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]
        if name in ("database", "server"):
            assert service["healthcheck"]["test"][0] == "CMD"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")
        for needed in service.get("depends_on", {}):
            assert needed in services


def test_what_services_mount_is_there(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if not source.startswith("."):
                assert source in compose["volumes"]
            elif source != "../landing":  # the user's own
                assert (DEPLOYMENTS / source).is_file()


@pytest.mark.skipif(SYSTEMD is None, reason="systemd-analyze is not here: apt-get install systemd")
def test_units_are_what_systemd_takes(tmp_path: Path) -> None:
    for unit in UNITS:
        # It looks whether programs are there: ours instead of those to be installed.
        text = unit.read_text().replace("/opt/mnist-pipeline/bin/prefect", sys.executable)
        (tmp_path / unit.name).write_text(text)
    paths = [str(tmp_path / unit.name) for unit in UNITS]
    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_units_have_no_root_and_come_back() -> None:
    assert [unit.stem for unit in UNITS] == ["mnist-pipeline-server", "mnist-pipeline-worker"]
    for unit in UNITS:
        lines = unit.read_text().splitlines()
        for line in ("User=mnist-pipeline", "Restart=always", "NoNewPrivileges=true"):
            assert line in lines
    names = {
        line.partition("=")[0].lstrip("#")
        for line in (DEPLOYMENTS / "systemd" / "environment").read_text().splitlines()
        if re.match(r"#?[A-Z_]+=", line)
    }
    assert {"PREFECT_API_URL", "MNIST_PIPELINE_WORKSPACE", "MNIST_PIPELINE_WEBHOOK"} <= names


def test_configurations_are_valid_as_shipped() -> None:
    config = resolve([load_file(DEPLOYMENTS / "nightly.toml")])
    assert config.name == "digits"
    assert tomllib.loads((DEPLOYMENTS / "scoring.toml").read_text())["inputs"] == ["landing"]


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (DEPLOYMENTS / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (DEPLOYMENTS / target).exists(), target
    assert (ROOT / "tests/flows/test_nights.py").exists()


def test_five_commands_lead_to_a_night() -> None:
    """They are run in tests/flows/test_deploying.py; here they are counted."""
    text = (DEPLOYMENTS / "README.md").read_text()
    first = text.partition("```sh\n")[2].partition("```")[0]
    assert len(first.splitlines()) == 5


def test_help_names_what_is_registered(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "--help"]) == 0
    told = capsys.readouterr().out
    document = yaml.safe_load((DEPLOYMENTS / "prefect.yaml").read_text())
    for spec in document["deployments"]:
        flow = spec["entrypoint"].split(".")[1]
        assert f"{flow}/{spec['name']}" in told
