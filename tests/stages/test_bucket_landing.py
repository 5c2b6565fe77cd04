"""Sources and landings in a bucket: moto's S3 server, and a wire that counts what is fetched."""

from __future__ import annotations

import json
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SETTING_WORDS, idx_bytes, write_idx
from wire import Wire, wire_to

from mnist_pipeline.cli import main
from mnist_pipeline.configfile import resolve
from mnist_pipeline.data.png import png_bytes
from mnist_pipeline.errors import DataError, OutsideError, PipelineError
from mnist_pipeline.stages.ingest import Part
from mnist_pipeline.stages.inputs import Input, inputs_of, landing_inputs
from mnist_pipeline.stages.landing import BadFile, replay, take_in, take_stock
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.inputs import quarantined
from mnist_pipeline.store.objects import Store

pytestmark = pytest.mark.integration

Table = tuple[np.ndarray, np.ndarray]
Command = Callable[..., tuple[int, dict[str, Any]]]
SECRET = "sesame"


def csv_bytes(images: np.ndarray, labels: np.ndarray) -> bytes:
    rows = np.column_stack([labels, images]).tolist()
    header = "label," + ",".join(f"pixel{k}" for k in range(784))
    return "\n".join([header, *(",".join(map(str, row)) for row in rows), ""]).encode()


@pytest.fixture
def wire(s3_server: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    with wire_to(s3_server) as wire:
        monkeypatch.setenv("AWS_ENDPOINT_URL", wire.url)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        yield wire


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where things are fetched to: empty after every test."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def landing(bucket: str, digits: Table) -> Store:
    """`a.csv` and `b.csv`, 100 rows each."""
    store = Store.open(bucket)
    for k, name in enumerate("ab"):
        rows = slice(100 * k, 100 * k + 100)
        store.put(f"landing/{name}.csv", csv_bytes(digits[0][rows], digits[1][rows]))
    return store


@pytest.fixture
def command(workspace: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main([*words, "--workspace", str(workspace), "--json"])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        assert SECRET not in captured.out + captured.err
        return code, json.loads(captured.out)

    return run


def run_on(workspace: Path, *landing: str, sources: tuple[str, ...] = (), **options: Any) -> Run:
    data = {"landing": list(landing), "sources": list(sources)}
    return Run(Store.open(workspace), resolve([{"data": data}]), **options)


def night(run: Run) -> list[Part | BadFile]:
    return [take_in(run, each) if isinstance(each, Input) else each for each in take_stock(run)]


@pytest.mark.parametrize("spec", ["csv:{}/landing/*.csv", "csv:{}/landing", "csv:{}/**/*.csv"])
def test_a_quiet_night_fetches_nothing(
    spec: str, wire: Wire, landing: Store, workspace: Path
) -> None:
    run = run_on(workspace, spec.format(landing.url))
    first = night(run)
    assert [(part.name, part.rows) for part in first if isinstance(part, Part)] == [
        ("a.csv", 100),
        ("b.csv", 100),
    ]
    assert wire.fetched == ["landing/a.csv", "landing/b.csv"]  # once, for key and rows
    for _ in range(2):
        wire.forget()
        assert night(run) == first
        assert (wire.fetched, wire.listings) == ([], 1)
        assert wire.carried < 2_000
    wire.forget()
    assert night(run_on(workspace, spec.format(landing.url), verify=True)) == first
    assert wire.fetched == ["landing/a.csv", "landing/b.csv"]


def test_only_what_is_new_or_has_changed_is_fetched(
    wire: Wire, landing: Store, workspace: Path, digits: Table
) -> None:
    spec = f"csv:{landing.url}/landing/*.csv"
    night(run_on(workspace, spec))
    wire.forget()
    images, labels = digits
    landing.put("landing/b.csv", csv_bytes(images[200:300], labels[200:300]))
    landing.put("landing/c.csv", csv_bytes(images[300:350], labels[300:350]))
    landing.put("landing/old/c.csv", b"no match")
    parts = night(run_on(workspace, spec))
    assert wire.fetched == ["landing/b.csv", "landing/c.csv"]
    told = [(p.name, p.rows, p.changed) for p in parts if isinstance(p, Part)]
    assert told == [("c.csv", 50, False), ("b.csv", 100, True), ("a.csv", 100, False)][::-1]


def test_bytes_are_the_same_part_wherever_they_lie(
    landing: Store, workspace: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes(landing.get("landing/a.csv"))
    run = run_on(workspace, sources=(f"csv:{landing.url}/landing/a.csv", f"csv:{tmp_path}/a.csv"))
    one, other = night(run)
    assert isinstance(one, Part)
    assert isinstance(other, Part)
    assert one.key == other.key


def test_a_bad_object_is_quarantined_by_its_url_and_taken_when_repaired(
    wire: Wire, landing: Store, workspace: Path, digits: Table
) -> None:
    spec, url = f"csv:{landing.url}/landing/*.csv", f"{landing.url}/landing/b.csv"
    landing.put("landing/b.csv", b"rubbish\n")
    _, bad = night(run_on(workspace, spec))
    assert isinstance(bad, BadFile)
    assert bad.error["facts"]["file"] == url
    assert wire.fetched == ["landing/a.csv", "landing/b.csv"]
    wire.forget()
    again = night(run_on(workspace, spec))[1]
    assert isinstance(again, BadFile)
    assert again.since == bad.since
    assert wire.fetched == []
    run = run_on(workspace, spec, force="ingest")
    assert [record.paths for record in quarantined(run.store)] == [(url,)]
    assert [entry.status for entry in replay(run, [url])] == ["quarantined"]
    landing.put("landing/b.csv", csv_bytes(digits[0][:40], digits[1][:40]))
    (entry,) = replay(run, ["b.csv"])
    assert (entry.path, entry.status) == (url, "taken")
    wire.forget()
    assert [type(each) for each in night(run_on(workspace, spec))] == [Part, Part]
    assert wire.fetched == []
    landing.put("landing/b.csv", b"rubbish\n")
    night(run_on(workspace, spec))
    landing.delete("landing/b.csv")
    assert [entry.status for entry in replay(run, [])] == ["gone"]
    assert list(quarantined(run.store)) == []


@pytest.mark.parametrize("what", ["replaced", "went away"])
def test_an_object_that_changes_before_it_is_fetched_waits_for_tomorrow(
    what: str, wire: Wire, landing: Store, workspace: Path, digits: Table
) -> None:
    def meddle(key: str) -> None:
        wire.before = lambda key: None
        if what == "replaced":
            landing.put(key, csv_bytes(digits[0][:30], digits[1][:30]))
        else:
            landing.delete(key)

    wire.before = meddle
    run = run_on(workspace, f"csv:{landing.url}/landing/*.csv")
    bad, good = night(run)
    assert isinstance(bad, BadFile)
    assert isinstance(good, Part)
    assert what in bad.error["headline"]
    assert bad.error["facts"]["file"] == f"{landing.url}/landing/a.csv"
    assert list(quarantined(run.store)) == []  # there is nothing to be mended
    wire.before = meddle
    named = run_on(workspace.with_name("other"), sources=(f"csv:{landing.url}/landing/b.csv",))
    with pytest.raises(DataError, match=f"{what}"):
        night(named)


def test_idx_pairs_and_pictures_in_a_bucket(
    wire: Wire, bucket: str, workspace: Path, digits: Table, tmp_path: Path
) -> None:
    images, labels = digits
    store = Store.open(bucket)
    write_idx(tmp_path / "idx", "train", images[:300], labels[:300])
    write_idx(tmp_path / "idx", "t10k", images[300:400], labels[300:400])
    for path in (tmp_path / "idx").iterdir():
        store.put(f"idx/{path.name}", path.read_bytes())
    for k in range(20):
        png = png_bytes(images[k].reshape(28, 28))
        store.put(f"png/{labels[k]}/{k}.png", png)
    specs = (f"idx:{bucket}/idx", f"idx:{bucket}/idx/train-images-idx3-ubyte", f"png:{bucket}/png")
    run = run_on(workspace, sources=specs)
    parts = night(run)
    told = [(p.name, p.role, p.rows) for p in parts if isinstance(p, Part)]
    train = ("train-images-idx3-ubyte", "train", 300)
    test = ("t10k-images-idx3-ubyte", "exam", 100)
    assert told == [train, test, train, ("png", "train", 20)]
    wire.forget()
    assert night(run) == parts
    assert wire.fetched == []
    store.put("png/3/3.png", png_bytes(images[13].reshape(28, 28)))
    (*_, changed) = night(run)
    assert isinstance(changed, Part)
    assert changed.changed
    assert len(wire.fetched) == 20
    store.put("idx/train-labels-idx1-ubyte", idx_bytes(labels[:299]))
    with pytest.raises(DataError, match="does not belong to") as caught:
        night(run)
    assert caught.value.facts["file"] == f"{bucket}/idx/train-labels-idx1-ubyte"


def test_folders_are_shown_by_empty_objects_and_bracketed_names_are_names(
    bucket: str, digits: Table, s3_server: str
) -> None:
    for key in ("landing/", "landing/old/", "empty/"):
        place = f"{s3_server}/{bucket.removeprefix('s3://')}/{key}"
        urllib.request.urlopen(urllib.request.Request(place, method="PUT"), timeout=10).close()
    store = Store.open(bucket)
    data = csv_bytes(digits[0][:10], digits[1][:10])
    for name in ("landing/a[1].csv", "landing/old/ü b+c.csv"):
        store.put(name, data)
    for spec, names in {
        "landing": ["a[1].csv"],
        "landing/a[1].csv": ["a[1].csv"],
        "landing/old": ["ü b+c.csv"],
        "landing/*/*.csv": ["ü b+c.csv"],
        "empty": [],
        "no": [],
        "landing/*.txt": [],
    }.items():
        found = landing_inputs([f"csv:{bucket}/{spec}"], None)
        assert [each.part.name for each in found] == names
        assert [each.absolute[0].endswith(names[0]) for each in found] == [True] * len(names)
        with pytest.raises(DataError) if not names else tempfile.TemporaryDirectory() as caught:
            inputs_of([f"csv:{bucket}/{spec}"], None)
        if not names:
            assert str(caught.value.facts["file"]).startswith(f"{bucket}/")
            assert caught.value.exit_code == 3
    store.put("landing/old", b"not empty")
    with pytest.raises(DataError, match="an object and a folder at once"):
        inputs_of([f"csv:{bucket}/landing"], None)


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ("csv:s3://no-such-bucket-here/landing/*.csv", 6),
        ("csv:s3://no-such-bucket-here/landing", 6),
        ("csv:{}/nothing/*.csv", 3),
        ("csv:{}/nothing.csv", 3),
        ("idx:{}/nothing", 3),
        ("png:{}/nothing", 3),
        ("csv:ftp://host/landing/*.csv", 2),
        ("csv:s3://me:sesame@bucket/landing/*.csv", 2),
        ("mnist:{}/idx", 2),
        ("{}/landing/*.csv", 2),
    ],
)
def test_places_that_are_not_there(spec: str, code: int, bucket: str, command: Command) -> None:
    spec = spec.format(bucket)
    for words in (["validate", spec], ["train", "--engine", "plain", "--source", spec]):
        exit_code, answer = command(*words)
        error = answer["error"]
        assert exit_code == code
        assert error["remedy"]
        assert "s3://" in json.dumps(error) or "ftp://" in json.dumps(error)


def test_a_server_that_does_not_answer(
    bucket: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    code, answer = command("validate", f"csv:{bucket}/landing/*.csv")
    assert code == 6
    assert answer["error"]["headline"] == "the source cannot be listed"
    assert answer["error"]["facts"]["source"] == bucket
    assert "the network" in answer["error"]["remedy"]


def test_what_cannot_be_fetched_is_no_bad_file(landing: Store, workspace: Path) -> None:
    run = run_on(workspace, f"csv:{landing.url}/landing/*.csv")
    stock = take_stock(run)
    Store.open(landing.url).delete("landing/a.csv")
    urls = [each.absolute for each in stock if isinstance(each, Input)]
    assert urls == [(f"{landing.url}/landing/{name}.csv",) for name in "ab"]
    assert isinstance(take_in(run, stock[0]), BadFile)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(OutsideError) as caught:
            take_in(run, stock[1])  # type: ignore[arg-type]
    assert caught.value.transient
    assert list(quarantined(run.store)) == []
    assert isinstance(take_in(run, stock[1]), Part)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["plain", "prefect"])
def test_nights_on_a_landing_in_a_bucket(
    engine: str, wire: Wire, bucket: str, idx_folder: Path, digits: Table, command: Command
) -> None:
    store = Store.open(bucket)
    for path in idx_folder.iterdir():
        store.put(f"base/{path.name}", path.read_bytes())
    words = ["train", "--engine", engine, *SETTING_WORDS]
    words += ["--source", f"idx:{bucket}/base", "--landing", f"csv:{bucket}/landing/*.csv"]
    code, answer = command(*words)
    assert (code, answer["status"], answer["dataset"]["rows"]) == (0, "promoted", 600)
    wire.forget()
    code, answer = command(*words)
    assert (code, answer["status"], wire.fetched) == (0, "unchanged", [])
    images, labels = digits
    store.put("landing/monday.csv", csv_bytes(255 - images[:50], labels[:50]))
    store.put("landing/tuesday.csv", b"rubbish")
    code, answer = command(*words)
    assert answer["dataset"]["rows"] == 650
    assert [bad["file"] for bad in answer["dataset"]["bad_files"]] == ["tuesday.csv"]
    assert wire.fetched == ["landing/monday.csv", "landing/tuesday.csv"]


def test_validate_reads_an_object_once_and_says_where(
    wire: Wire, landing: Store, command: Command, digits: Table
) -> None:
    data = csv_bytes(*digits).replace(b"\n0,", b"\n11,", 1)
    landing.put("landing/b.csv", data)
    code, answer = command("validate", f"csv:{landing.url}/landing/b.csv")
    assert (code, answer["rows"], answer["rejected"]) == (0, 600, {"label_out_of_range": 1})
    assert wire.fetched == ["landing/b.csv"]
    landing.put("landing/b.csv", b"")
    code, answer = command("validate", f"csv:{landing.url}/landing/*.csv")
    assert (code, answer["rows"]) == (3, 100)
    assert answer["error"]["facts"]["file"] == f"{landing.url}/landing/b.csv"


def test_an_unexpected_name_is_explained(bucket: str) -> None:
    store = Store.open(bucket)
    store.put(f"landing/{'x' * 300}.csv", b"x")
    with pytest.raises(PipelineError) as caught:
        inputs_of([f"csv:{bucket}/landing/*.csv"], None)
    assert caught.value.exit_code == 3
    assert "xxx" in caught.value.facts["name"]
