"""The tutorial's five improvements, measured; and what `deskew` gives.

    MNIST_DATA_DIR=… OPENBLAS_NUM_THREADS=1 python tests/benchmarks/bench_tutorial.py
        [--write docs/tutorial.md] [--choices]

Every row is a configuration that `mnist-pipeline train` takes, trained by the project's own trainer
on the rows that the command would train on. `--write` replaces the tables between the marker
comments of a document and draws its learning curves beside it (.svg). `--choices` prints instead
what the values in the table were chosen from: one seed, validation rows, no look at the test.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tutorial_curves import curves

from mnist_pipeline import plugins
from mnist_pipeline.config import Config
from mnist_pipeline.configfile import load_preset, parse_setting, resolve
from mnist_pipeline.data.dataset import Images, Labels
from mnist_pipeline.data.split import Side
from mnist_pipeline.errors import TrainingError
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.trainer import train
from mnist_pipeline.stages.evaluate import questions
from mnist_pipeline.stages.ingest import ingest
from mnist_pipeline.stages.inputs import inputs_of
from mnist_pipeline.stages.resolve import resolved
from mnist_pipeline.stages.run import Run
from mnist_pipeline.stages.train import rows_of
from mnist_pipeline.stages.validate import validate
from mnist_pipeline.store.objects import Store

# As many training rows as the tutorial had, and enough others to choose by.
DATA = "data.validation_fraction=0.3"


@dataclasses.dataclass(frozen=True)
class Row:
    """A preset and what is changed of it; `curve` names its line in the picture, if it has one."""

    label: str
    settings: tuple[str, ...] = ()
    preset: str = "tutorial"
    curve: str = ""

    @property
    def words(self) -> list[str]:
        """The options of `mnist-pipeline train` that train this row."""
        chosen = ["--source", "mnist", "--preset", self.preset]
        return [*chosen, *(word for key in (DATA, *self.settings) for word in ("--set", key))]

    def config(self, *more: str) -> Config:
        layers = [load_preset(self.preset), *map(parse_setting, (DATA, *self.settings, *more))]
        return resolved(resolve([*layers, {"data": {"sources": ["mnist"]}}]))


TUTORIAL = Row("the tutorial", curve="the tutorial")
FOUR = (
    "model.init=he",
    "model.hidden=[64, 32]",
    "train.learning_rate=0.5",
    "train.l2=0.001",
)
IMPROVEMENTS = (
    TUTORIAL,
    Row("1 initialisation: Xavier", ("model.init=xavier",)),
    Row("1 initialisation: He", ("model.init=he",), curve="1 He initialisation"),
    Row("2 decay: cosine", ("train.schedule=cosine",), curve="2 decay"),
    Row("3 hidden layer of 64", ("model.hidden=[64]",), curve="3 hidden layer of 64"),
    Row("4 regularisation", ("train.l2=0.03",), curve="4 regularisation"),
    Row("5 depth: two hidden layers", ("model.hidden=[10, 10]",), curve="5 depth"),
    Row("all five, from rate 0.5", (*FOUR, "train.schedule=cosine"), curve="all five"),
    Row("all but decay, rate 0.5", FOUR, curve="all but decay"),
)

SOFTMAX, UPRIGHT = "model.kind=softmax", "normalize.kind=deskew"
STANDARDIZED = (UPRIGHT, "normalize.values=standardize")
DESKEW = (
    Row("softmax", (SOFTMAX,), "fast"),
    Row("softmax, deskew", (SOFTMAX, UPRIGHT), "fast"),
    Row("softmax, deskew and standardize", (SOFTMAX, *STANDARDIZED), "fast"),
    Row("mlp", (), "fast"),
    Row("mlp, deskew", (UPRIGHT,), "fast"),
    Row("mlp, deskew and standardize", STANDARDIZED, "fast"),
)

HE_FASTER = ("model.init=he", "train.learning_rate=0.5")
DECAYING = (*HE_FASTER, "train.schedule=cosine")
CHOICES = tuple(
    Row(", ".join(settings), settings)
    for settings in (
        *((f"train.learning_rate={rate}",) for rate in (0.3, 0.5, 1, 2, 4)),
        *((f"train.learning_rate={r}", "train.schedule=cosine") for r in (0.1, 0.5, 1, 2, 4)),
        ("train.learning_rate=1", "train.schedule=step", "train.milestones=[0.8]"),
        ("train.learning_rate=1", "train.schedule=exponential", "train.decay=0.5"),
        *((f"model.hidden=[{units}]",) for units in (32, 64)),
        *((f"train.l2={l2}",) for l2 in (0.0001, 0.001, 0.003, 0.01, 0.03, 0.1)),
        *(("model.init=he", f"train.l2={l2}") for l2 in (0.003, 0.03)),
        *((f"model.hidden={layers}",) for layers in ("[10, 10]", "[10, 10, 10]")),
        ("model.init=he", "model.hidden=[10, 10]"),
        HE_FASTER,
        DECAYING,
        (*HE_FASTER, "model.hidden=[64, 32]"),
        (*HE_FASTER, "model.hidden=[64, 32]", "train.l2=0.001"),
        *((*DECAYING, f"model.hidden={layers}") for layers in ("[32, 32]", "[64]", "[64, 32]")),
        *((*DECAYING, "model.hidden=[64, 32]", f"train.l2={l2}") for l2 in (0.001, 0.01)),
    )
)


@dataclasses.dataclass(frozen=True)
class Digits:
    """MNIST as a run sees it: (images, labels) of each side."""

    training: tuple[Images, Labels]
    validation: tuple[Images, Labels]
    test: tuple[Images, Labels]

    @classmethod
    def read(cls, workspace: Path) -> Digits:
        run = Run(Store.open(workspace), TUTORIAL.config())
        parts = [ingest(run, source) for source in inputs_of(run.config.data.sources, run.store)]
        snapshot = validate(run, parts)
        sides = [rows_of(run, snapshot, side) for side in (Side.TRAIN, Side.VALIDATION)]
        return cls(*sides, questions(run, snapshot))

    def __str__(self) -> str:
        rows = [len(labels) for _, labels in (self.training, self.validation, self.test)]
        return "{:,} training, {:,} validation and {:,} test rows".format(*rows)


@dataclasses.dataclass(frozen=True)
class Measured:
    """One training: CPU seconds of it, accuracies in percent, its curve."""

    seconds: float
    validation: float
    test: float
    history: list[dict[str, Any]]


def measure(row: Row, digits: Digits, seed: int, *more: str) -> Measured:
    """One training of a row, evaluated by the road that every prediction takes."""
    config = row.config(f"train.seed={seed}", *more)
    images, labels = digits.training
    normalizer = FittedNormalizer.fit(config.normalize.kind, config.normalize.options(), [images])
    model = plugins.build("model", config.model.kind, config.model.options())
    started = time.process_time()
    result = train(
        model, images, labels, normalizer, config.train, classes=10, validation=digits.validation
    )
    seconds = time.process_time() - started
    predictor = model.compile(result.parameters, normalizer)
    validation, test = (
        100 * float(np.mean(predictor(side[0]).argmax(axis=1) == side[1]))
        for side in (digits.validation, digits.test)
    )
    return Measured(seconds, validation, test, result.history)


def measure_all(rows: Sequence[Row], digits: Digits, seeds: range) -> dict[Row, list[Measured]]:
    measured: dict[Row, list[Measured]] = {}
    for row in rows:
        measured[row] = [measure(row, digits, seed) for seed in seeds]
        validation = ", ".join(f"{one.validation:.2f}" for one in measured[row])
        print(f"{row.label}: validation {validation}", file=sys.stderr, flush=True)
    return measured


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation over the seeds."""
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def table(measured: dict[Row, list[Measured]], *, test: bool) -> str:
    """The measured rows as a Markdown table, with or without a look at the test images."""
    heads = ["", "`--set`", "CPU s", "validation %", *(["test %"] if test else [])]
    lines = [heads, ["---", "---", *["---:"] * (len(heads) - 2)]]
    for row, runs in measured.items():
        seconds = f"{statistics.mean(one.seconds for one in runs):.1f}"
        cells = [row.label, " ".join(f"`{key}`" for key in row.settings), seconds]
        cells.append(spread([one.validation for one in runs]))
        lines.append([*cells, *([spread([one.test for one in runs])] if test else [])])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def cost(images: Images, repeats: int = 9) -> str:
    """What `deskew` costs beside `scale`: CPU time, in turn, medians."""
    times: dict[str, list[float]] = {"deskew": [], "scale": []}
    for _ in range(repeats):
        for name, values in times.items():
            normalizer = FittedNormalizer.fit(name, {}, [images])
            started = time.process_time()
            for start in range(0, 8192, 128):
                normalizer.transform(images[start : start + 128])
            values.append((time.process_time() - started) / 8192 * 1e6)
    deskew, scale = (statistics.median(values) for values in times.values())
    return (
        f"CPU time an image, in batches of 128: `deskew` {deskew:.1f} µs, `scale` {scale:.1f} µs.\n"
    )


def replaced(document: str, name: str, content: str) -> str:
    """The document with new content between the markers of that name.

    Raises:
        ValueError: it does not have them.
    """
    begin, end = f"<!-- measured: {name} -->\n", "<!-- end -->"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"the document needs {begin.strip()} and {end} around the table")
    return f"{before}{begin}{content}{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FILE", help="a Markdown file with markers")
    parser.add_argument("--choices", action="store_true", help="what the values were chosen from")
    arguments = parser.parse_args()
    if arguments.write:  # a page that cannot take the tables is told before half an hour of work
        for name in ("improvements", "deskew"):
            replaced(arguments.write.read_text(encoding="utf-8"), name, "")
    with tempfile.TemporaryDirectory() as folder:
        digits = Digits.read(Path(folder))
    print(f"NumPy {np.__version__}, one BLAS thread, {digits}\n", flush=True)
    if arguments.choices:
        choose(digits)
        return
    started = time.process_time()
    improvements = measure_all(IMPROVEMENTS, digits, range(5))
    deskew = measure_all(DESKEW, digits, range(3))
    contents = {
        "improvements": table(improvements, test=True),
        "deskew": f"{table(deskew, test=False)}\n{cost(digits.training[0])}",
    }
    print(*contents.values(), sep="\n")
    print(f"{(time.process_time() - started) / 60:.0f} CPU minutes")
    if arguments.write:
        document = arguments.write.read_text(encoding="utf-8")
        for name, content in contents.items():
            document = replaced(document, name, content)
        arguments.write.write_text(document, encoding="utf-8")
        histories = {
            row.curve: [one.history for one in runs]
            for row, runs in improvements.items()
            if row.curve
        }
        arguments.write.with_suffix(".svg").write_text(curves(histories), encoding="utf-8")


def choose(digits: Digits) -> None:
    """Validation accuracy of every value that was tried, seed 0."""
    for row in CHOICES:
        try:
            answer = f"{measure(row, digits, 0).validation:.2f}"
        except TrainingError as error:
            answer = str(error).splitlines()[0]
        print(f"{row.label:<76} {answer}", flush=True)


if __name__ == "__main__":
    main()
