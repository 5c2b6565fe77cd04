"""Conversions: every format into every other without loss, judged as by ingest, all or nothing."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small import write_idx

from mnist_pipeline.cli import main
from mnist_pipeline.contract.quarantine import Tally
from mnist_pipeline.contract.records import Records, Reject, Role
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.convert.conversion import Conversion, convert
from mnist_pipeline.convert.formats import Form
from mnist_pipeline.convert.rows import MOST_PLACES, judged
from mnist_pipeline.errors import ConfigError, DataError, PipelineError
from mnist_pipeline.reporting import Silent, Step
from mnist_pipeline.sources.mnist import EXAM, TRAIN
from mnist_pipeline.stages.inputs import inputs_of

CONTRACT = ImageContract()
Data = tuple[np.ndarray, np.ndarray]


def run(
    specs: str | list[str], output: Path, form: Form | str, *, limit: float = 0.01, **options: bool
) -> Conversion:
    """A conversion with nobody listening."""
    return convert(
        [specs] if isinstance(specs, str) else specs,
        output,
        Form(form) if isinstance(form, str) else form,
        max_reject_fraction=limit,
        overwrite=options.get("overwrite", False),
        store=None,
        reporter=Silent(),
    )


def read(spec: str) -> dict[Role, tuple[np.ndarray, np.ndarray | None]]:
    """Images and labels of each part of a source."""
    found: dict[Role, tuple[np.ndarray, np.ndarray | None]] = {}
    for source in inputs_of([spec], None):
        blocks = list(source.part.read(CONTRACT))
        assert not any(block.rejects for block in blocks)
        labels = [block.labels for block in blocks if block.labels is not None]
        images = np.concatenate([block.images for block in blocks])
        assert source.part.role not in found
        found[source.part.role] = (images, np.concatenate(labels) if labels else None)
    return found


def by_class(images: np.ndarray, labels: np.ndarray) -> Data:
    """Rows as folders of pictures order them: class by class."""
    order = np.argsort(labels, kind="stable")
    return images[order], labels[order]


@pytest.fixture(scope="module")
def noise() -> Data:
    """300 images, mostly noise; no image twice, no label 9."""
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (300, 784), np.uint8), rng.integers(0, 9, 300).astype(np.uint8)


# A format, what it is written to, and how that is read.
KINDS: dict[str, tuple[Form, str, str]] = {
    "idx": (Form("idx"), "i", "idx:{}"),
    "idx gz": (Form("idx", compress=True), "iz", "idx:{}"),
    "csv": (Form("csv"), "c.csv", "csv:{}"),
    "csv gz": (Form("csv"), "c.csv.gz", "csv:{}"),
    "png": (Form("png"), "p", "png:{}"),
    **{
        f"parquet {layout}": (Form("parquet", layout=layout), f"{layout}.parquet", "parquet:{}")
        for layout in ("bytes", "list", "columns", "tensor", "png")
    },
}


@pytest.fixture(scope="module")
def written(noise: Data, memory: Path) -> dict[str, str]:
    """The noise in every kind, as specs; made from IDX files that a test helper wrote."""
    folder = memory / "kinds"
    write_idx(folder / "original", "train", *noise)
    for form, name, _ in KINDS.values():
        done = run(f"idx:{folder / 'original'}", folder / name, form)
        assert (done.rows, done.accepted, done.rejected) == (300, 300, {})
        assert done.output == str(folder / name)
    return {kind: spec.format(folder / name) for kind, (_, name, spec) in KINDS.items()}


MAIN = ("idx", "idx gz", "csv", "csv gz", "parquet bytes", "png")
OTHER = tuple(kind for kind in KINDS if kind not in MAIN)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        *itertools.product(MAIN, MAIN),
        *itertools.product(OTHER, ("idx",)),
        *itertools.permutations(OTHER, 2),
    ],
)
def test_every_kind_becomes_every_other_without_loss(
    source: str, target: str, written: dict[str, str], noise: Data, tmp_path: Path
) -> None:
    form, name, spec = KINDS[target]
    run(written[source], tmp_path / name, form)
    images, labels = read(spec.format(tmp_path / name))["train"]
    expected = by_class(*noise) if "png" in (source, target) else noise
    np.testing.assert_array_equal(images, expected[0])
    np.testing.assert_array_equal(labels, expected[1])


@pytest.mark.parametrize("target", KINDS)
def test_unlabelled(target: str, written: dict[str, str], noise: Data, tmp_path: Path) -> None:
    form, name, spec = KINDS[target]
    bare = Form(form.format, labelled=False, compress=form.compress, layout=form.layout)
    run(written["csv"], tmp_path / name, bare)
    images, labels = read(spec.format(tmp_path / name) + ",labelled=false")["train"]
    assert labels is None
    np.testing.assert_array_equal(images, noise[0])
    with pytest.raises(PipelineError):  # no labels were written
        read(spec.format(tmp_path / name))


def test_unlabelled_drops_labels_of_sources_that_always_have_some(tmp_path: Path) -> None:
    run("synthetic:n=30", tmp_path / "i", Form("idx", labelled=False))
    assert [path.name for path in (tmp_path / "i").iterdir()] == ["train-images-idx3-ubyte"]


def test_a_source_without_labels_gives_none(written: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without labels") as caught:
        run(written["csv"] + ",labelled=false", tmp_path / "x.csv", "csv")
    assert "--unlabelled" in caught.value.remedy
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["idx", "idx gz", "png"])
def test_the_official_test_part_stays_apart(
    kind: str, noise: Data, idx_folder: Path, tmp_path: Path
) -> None:
    form, name, spec = KINDS[kind]
    run(f"idx:{idx_folder}", tmp_path / name, form)
    run(spec.format(tmp_path / name), tmp_path / "back", "idx")
    before, after = read(f"idx:{idx_folder}"), read(f"idx:{tmp_path / 'back'}")
    assert list(before) == list(after) == ["train", "exam"]
    for role, (images, labels) in before.items():
        assert labels is not None
        if kind == "png":
            images, labels = by_class(images, labels)
        np.testing.assert_array_equal(after[role][0], images)
        np.testing.assert_array_equal(after[role][1], labels)
    if kind != "png":
        for path in idx_folder.iterdir():
            assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("format", "end"), [("csv", ".csv"), ("parquet", ".parquet")])
def test_two_parts_are_two_files(format: str, end: str, idx_folder: Path, tmp_path: Path) -> None:
    done = run(f"idx:{idx_folder}", tmp_path / "out", format)
    assert done.files == 2
    for role, name in (("train", f"train{end}"), ("exam", f"test{end}")):
        images, labels = read(f"idx:{idx_folder}")[role]  # type: ignore[index]
        found = read(f"{format}:{tmp_path / 'out' / name}")["train"]
        np.testing.assert_array_equal(found[0], images)
        np.testing.assert_array_equal(found[1], labels)
    with pytest.raises(ConfigError, match="two files") as caught:
        run(f"idx:{idx_folder}", tmp_path / f"one{end}", format)
    assert f"--output {tmp_path / 'one'}" in caught.value.remedy
    assert not (tmp_path / f"one{end}").exists()


def test_a_test_part_alone_keeps_its_role(idx_folder: Path, tmp_path: Path) -> None:
    spec = f"idx:{idx_folder / 't10k-images-idx3-ubyte'}"
    for kind in ("idx", "png"):
        run(spec, tmp_path / "out" / kind, kind)
        assert list(read(f"{kind}:{tmp_path / 'out' / kind}")) == ["exam"]


def test_many_inputs_become_one_output(
    written: dict[str, str], noise: Data, tmp_path: Path
) -> None:
    done = run(
        [written["csv"], written["idx"], written["csv gz"]], tmp_path / "all.parquet", "parquet"
    )
    assert (done.rows, done.files) == (900, 1)
    images, labels = read(f"parquet:{tmp_path / 'all.parquet'}")["train"]
    np.testing.assert_array_equal(images, np.tile(noise[0], (3, 1)))
    np.testing.assert_array_equal(labels, np.tile(noise[1], 3))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """IDX files are read 64 rows at a time."""
    monkeypatch.setattr("mnist_pipeline.sources.idx.BLOCK_ROWS", 64)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("target", KINDS)
def test_rows_come_in_many_blocks(
    target: str, written: dict[str, str], noise: Data, tmp_path: Path
) -> None:
    form, name, spec = KINDS[target]
    run(written["idx gz"], tmp_path / name, form)
    images, labels = read(spec.format(tmp_path / name))["train"]
    expected = by_class(*noise) if target == "png" else noise
    np.testing.assert_array_equal(images, expected[0])
    np.testing.assert_array_equal(labels, expected[1])


@pytest.fixture
def with_bad_labels(noise: Data, tmp_path: Path) -> str:
    """300 rows, of which two have labels that are none."""
    labels = noise[1].copy()
    labels[[7, 250]] = [10, 255]
    write_idx(tmp_path / "bad", "train", noise[0], labels)
    return f"idx:{tmp_path / 'bad'}"


@pytest.mark.parametrize("format", ["idx", "csv", "parquet", "png"])
def test_rejected_rows_are_listed_beside_the_output(
    format: str, with_bad_labels: str, noise: Data, tmp_path: Path
) -> None:
    done = run(with_bad_labels, tmp_path / "out", format)
    assert (done.rows, done.accepted) == (300, 298)
    assert done.rejected == {"label_out_of_range": 2}
    assert [place["place"] for place in done.places] == [7, 250]
    assert done.quarantine == str(tmp_path / "out.rejected.parquet")
    rows = pq.read_table(done.quarantine).to_pylist()
    assert [(row["place"], row["payload"]) for row in rows] == [
        (place, noise[0][place].tobytes()) for place in (7, 250)
    ]
    assert len(read(f"{format}:{tmp_path / 'out'}")["train"][0]) == 298
    assert json.loads(json.dumps(done.to_json()))["places_left_out"] == 0


@pytest.mark.parametrize("format", ["idx", "csv", "parquet", "png"])
def test_over_the_budget_nothing_is_written(
    format: str, with_bad_labels: str, tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match="2 of 300 rows") as caught:
        run(with_bad_labels, tmp_path / "out", format, limit=0.005)
    assert caught.value.facts["rejected"] == {"label_out_of_range": 2}
    assert "train-images-idx3-ubyte:7" in caught.value.facts["first"][0]
    assert sorted(tmp_path.iterdir()) == before


def test_the_budget_holds_for_each_input(
    with_bad_labels: str, written: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="2 of 300 rows"):
        run([written["idx"], with_bad_labels], tmp_path / "out", "idx", limit=0.004)
    assert run([written["idx"], with_bad_labels], tmp_path / "out", "idx").accepted == 598


def test_nothing_but_rejected_rows_is_no_data(noise: Data, tmp_path: Path) -> None:
    write_idx(tmp_path / "bad", "train", noise[0], np.full(300, 77, np.uint8))
    with pytest.raises(DataError, match="not one row"):
        run(f"idx:{tmp_path / 'bad'}", tmp_path / "out", "idx", limit=1.0)
    assert not (tmp_path / "out").exists()


class Junk:
    """An input of blocks of rejected rows, and one accepted row at the end."""

    name, role, paths = "junk", "train", ()
    blocks, rows = 20, 50

    def identity(self) -> str:
        return "junk"

    def read(self, _contract: ImageContract) -> Iterator[Records]:
        for block in range(self.blocks):
            places = range(block * self.rows, (block + 1) * self.rows)
            rejects = [Reject("junk", k, "undecodable_image", f"row {k}") for k in places]
            images, none = np.zeros((0, 784), np.uint8), np.zeros(0, np.int64)
            yield Records(images, none, none, "junk", tuple(rejects))
        last = np.array([self.blocks * self.rows])
        yield Records(np.zeros((1, 784), np.uint8), np.array([3]), last, "junk")


def test_rejected_rows_are_handed_on_block_by_block() -> None:
    class Counting:
        handed: list[int] = []  # noqa: RUF012

        def extend(self, rejects: Sequence[Reject]) -> None:
            self.handed.append(len(rejects))

    counting, tally = Counting(), Tally(MOST_PLACES)
    assert len(list(judged(Junk(), CONTRACT, labelled=True, rejects=(counting, tally)))) == 1
    assert counting.handed[: Junk.blocks] == [Junk.rows] * Junk.blocks
    assert sum(counting.handed) == tally.total == 1000


SPEC = Callable[[Path], str]
INSIDE: dict[str, tuple[SPEC, str, str]] = {
    "idx folder into itself": (lambda f: f"idx:{f}/i", "i", "idx"),
    "idx folder, a folder in it": (lambda f: f"idx:{f}", "out", "idx"),
    "csv folder": (lambda f: f"csv:{f}", "all.csv", "csv"),
    "csv pattern": (lambda f: f"csv:{f}/*.csv", "all.csv", "csv"),
    "deep pattern": (lambda f: f"csv:{f}/**/*.csv", "deep/er/all.csv", "csv"),
    "csv to itself": (lambda f: f"csv:{f}/x.csv", "x.csv", "csv"),
    "pictures": (lambda f: f"png:{f}/p", "p/out", "idx"),
    "pictures into themselves": (lambda f: f"png:{f}/p", "p", "png"),
    "pictures, one above": (lambda f: f"png:{f}/p/train", "p", "png"),
    "a link to the input": (lambda f: f"csv:{f}/x.csv", "link.csv", "csv"),
}


@pytest.fixture
def mixed(noise: Data, tmp_path: Path) -> Path:
    """A folder with IDX files, a CSV file and pictures."""
    folder = tmp_path / "mixed"
    write_idx(folder, "train", noise[0][:50], noise[1][:50])
    run(f"idx:{folder}", tmp_path / "i", "idx")
    (tmp_path / "i").rename(folder / "i")
    run(f"idx:{folder}", tmp_path / "x.csv", "csv")
    (tmp_path / "x.csv").rename(folder / "x.csv")
    run(f"idx:{folder}", tmp_path / "p", "png")
    (tmp_path / "p").rename(folder / "p")
    (folder / "link.csv").symlink_to("x.csv")
    return folder


@pytest.mark.parametrize("what", INSIDE)
def test_an_output_never_becomes_its_own_input(what: str, mixed: Path) -> None:
    spec, output, kind = INSIDE[what]
    if "one above" in what:
        (mixed / "p2").mkdir()
        (mixed / "p").rename(mixed / "p2" / "train")
        (mixed / "p2").rename(mixed / "p")
    before = {path: path.stat().st_mtime_ns for path in mixed.rglob("*")}
    with pytest.raises(ConfigError) as caught:
        run(spec(mixed), mixed / output, kind, overwrite=True)
    assert caught.value.headline.startswith(("the output would replace", "the output lies where"))
    assert before == {path: path.stat().st_mtime_ns for path in mixed.rglob("*")}


@pytest.mark.parametrize(
    ("spec", "output", "format"),
    [
        ("idx:{}", "out.csv", "csv"),
        ("csv:{}/x.csv", "y.csv", "csv"),
        ("csv:{}/x*.csv", "y.csv", "csv"),
        ("csv:{}/*.csv", "deeper/y.csv", "csv"),
        ("csv:{}/*.csv", "y.parquet", "parquet"),
        ("png:{}/p", "q", "png"),
    ],
)
def test_an_output_beside_its_input_is_fine(
    spec: str, output: str, format: str, mixed: Path
) -> None:
    (mixed / "link.csv").unlink()
    assert run(spec.format(mixed), mixed / output, format).accepted == 50


def test_usage_is_checked_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        run("csv:/nowhere/x.csv", tmp_path / "out.csv", "csv")
    with pytest.raises(DataError, match=r"x\.csv does not exist"):
        run("csv:/nowhere/x.csv", tmp_path / "new.csv", "csv")
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("format", ["idx", "csv", "parquet", "png"])
def test_a_source_that_breaks_off_leaves_nothing(format: str, noise: Data, tmp_path: Path) -> None:
    write_idx(tmp_path / "cut", "train", *noise)
    path = tmp_path / "cut" / "train-images-idx3-ubyte"
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes())[:-50])
    path.unlink()
    for old in (None, "old"):
        if old:
            run("synthetic:n=20", tmp_path / "out", format)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(DataError, match="damaged gzip"):
            run(f"idx:{tmp_path / 'cut'}", tmp_path / "out", format, overwrite=True)
        assert sorted(tmp_path.rglob("*")) == before


class Interrupting(Silent):
    """Presses Ctrl-C after some blocks."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks

    def step(self, step: Step) -> None:
        self.blocks -= 1
        if not self.blocks:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    "form",
    [
        *map(Form, ("idx", "csv", "parquet", "png")),
        *(Form(f, compress=True) for f in ("idx", "csv")),
    ],
)
def test_ctrl_c_between_blocks(form: Form, written: dict[str, str], tmp_path: Path) -> None:
    options = {"max_reject_fraction": 0.01, "overwrite": True, "store": None}
    for old in (None, "old"):
        if old:
            run("synthetic:n=20", tmp_path / "out", form)
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        with pytest.raises(KeyboardInterrupt):
            convert(
                [written["idx"]],
                tmp_path / "out",
                form,
                reporter=Interrupting(2),
                **options,  # type: ignore[arg-type]
            )
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.slow
@pytest.mark.parametrize("format", ["idx", "parquet", "png"])
def test_kill_leaves_a_hidden_folder_that_the_next_run_clears(format: str, tmp_path: Path) -> None:
    words = ["data", "make", "--format", format, "--output", str(tmp_path / "out"), "--quiet"]
    command = [sys.executable, "-m", "mnist_pipeline.cli", *words, "--rows", "400000"]
    command[1:3] = ["-c", "import sys; from mnist_pipeline.cli import main; main(sys.argv[1:])"]
    with subprocess.Popen(command) as process:
        deadline = time.monotonic() + 60
        while not any(path.is_file() for path in tmp_path.rglob("*")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".")
    assert main([*words, "--rows", "50"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of its own, 600 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.integration
@pytest.mark.parametrize(
    "words",
    [
        ["--format", "idx", "--output", "out"],
        ["--format", "idx", "--output", "out", "--compress"],
        ["--format", "csv", "--output", "out.csv"],
        ["--format", "csv", "--output", "out.csv.gz"],
        ["--format", "parquet", "--output", "out.parquet"],
        ["--format", "parquet", "--output", "out.parquet", "--layout", "columns"],
        ["--format", "png", "--output", "out"],
    ],
)
def test_a_full_disk(words: list[str], small_disk: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(small_disk)
    for rows in ("600", "6000", "20000"):  # the end of the disk before, in and after a block
        code = main(["data", "make", *words, "--rows", rows, "--json"])
        output = capsys.readouterr()
        answer = json.loads(output.out)
        if code == 0:
            shutil.rmtree("out", ignore_errors=True)
            for path in small_disk.iterdir():
                path.unlink()
            continue
        assert code == answer["error"]["code"] == 6
        assert answer["error"]["headline"] == "the disk is full"
        assert "Traceback" not in output.err
        assert not list(small_disk.iterdir())
    assert code == 6


def test_the_same_source_is_the_same_bytes(tmp_path: Path) -> None:
    for (form, name, _), folder in itertools.product(KINDS.values(), ("one", "other")):
        run("synthetic:n=40,seed=3", tmp_path / folder / name, form)
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            other = tmp_path / "other" / path.relative_to(tmp_path / "one")
            assert path.read_bytes() == other.read_bytes()


@pytest.mark.integration
@pytest.mark.skipif("MNIST_DATA_DIR" not in os.environ, reason="MNIST_DATA_DIR is not set")
@pytest.mark.parametrize("compress", [False, True])
def test_mnist_comes_out_as_it_was_published(compress: bool, tmp_path: Path) -> None:
    run("mnist", tmp_path / "out", Form("idx", compress=compress))
    for wanted in (*TRAIN, *EXAM):
        name = wanted.name if compress else wanted.name.removesuffix(".gz")
        content = (tmp_path / "out" / name).read_bytes()
        content = gzip.decompress(content) if compress else content
        assert hashlib.sha256(content).hexdigest() == wanted.sha256
