"""What 50 installed plugins cost the command that lists them, over `--help`.

    python tests/benchmarks/bench_plugins.py [ROUNDS]

CPU seconds of whole processes, interleaved; the median of each, and of the differences.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PLUGINS = 50
LIMIT = 0.1
SEAMS = ("sources", "normalizers", "models", "gates", "publishers")
RUN = "from mnist_pipeline.cli import entry_point; entry_point()"


def install(site: Path) -> None:
    """50 packages with a plugin each, that write down when one is imported."""
    for number in range(PLUGINS):
        name = f"stranger{number}"
        (site / f"{name}.py").write_text(
            f"open({str(site / 'imported')!r}, 'a').write('{name} ')\nclass Plugin: pass\n"
        )
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        group = f"mnist_pipeline.{SEAMS[number % len(SEAMS)]}"
        (info / "entry_points.txt").write_text(f"[{group}]\n{name}.v1 = {name}:Plugin\n")


def cpu_seconds(words: list[str], site: Path) -> tuple[float, str]:
    """The CPU time of a command, and what it printed."""
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def measure(rounds: int) -> tuple[float, float, float]:
    """Median CPU seconds of `--help`, of `plugins`, and of the difference in a round."""
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)
        install(site)
        helps, lists = [], []
        for _ in range(rounds + 1):
            helps.append(cpu_seconds(["--help"], site)[0])
            seconds, listed = cpu_seconds(["plugins"], site)
            lists.append(seconds)
            assert listed.count("stranger") >= PLUGINS, listed
        assert not (site / "imported").exists(), "a plugin was imported"
    helps, lists = helps[1:], lists[1:]  # the first round compiles
    differences = [two - one for one, two in zip(helps, lists, strict=True)]
    return statistics.median(helps), statistics.median(lists), statistics.median(differences)


if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    helping, listing, more = measure(rounds)
    print(f"--help {helping:.3f} CPU-s, plugins with {PLUGINS} installed {listing:.3f} CPU-s")
    print(f"difference {more:.3f} CPU-s (limit {LIMIT}); no plugin module imported")
    sys.exit(more > LIMIT)
