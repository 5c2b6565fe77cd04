"""The manifest: reads back as it was written, or is refused."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from store_samples import make_manifest

from mnist_pipeline.errors import IntegrityError
from mnist_pipeline.refs import Ref
from mnist_pipeline.store.manifest import Manifest, environment, packages_in


@pytest.mark.parametrize("exam", [None, "e" * 64])
def test_a_manifest_reads_back(exam: str | None) -> None:
    files = {"a.json": Ref("k/a.json", "0" * 64, 3), "g.parquet": Ref("k/g", "1" * 64, 9, 32)}
    manifest = make_manifest("ziffern-2", 12, exam=exam, files=files, run="é")
    again = Manifest.from_bytes(manifest.to_bytes(), "k")
    assert again == manifest
    assert again.to_bytes() == manifest.to_bytes()


def test_a_manifest_says_its_format_first() -> None:
    assert next(iter(json.loads(make_manifest().to_bytes()).items())) == ("format", 1)


def test_a_manifest_cut_anywhere_is_refused() -> None:
    data = make_manifest().to_bytes()
    for length in range(len(data.rstrip())):
        with pytest.raises(IntegrityError, match="damaged"):
            Manifest.from_bytes(data[:length], "k")


@pytest.mark.parametrize("name", ["format", "name", "files", "verdict", "exam", "run_key"])
def test_a_manifest_that_lacks_something_is_refused(name: str) -> None:
    fields = json.loads(make_manifest().to_bytes())
    del fields[name]
    with pytest.raises(IntegrityError, match="damaged") as caught:
        Manifest.from_bytes(json.dumps(fields).encode(), "models/digits/versions/1/manifest.json")
    assert caught.value.facts["key"] == "models/digits/versions/1/manifest.json"
    assert caught.value.facts["cause"]


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"format": "1"},
        {"unheard_of": 1},
        {"files": []},
        {"files": {"a": {}}},
        {"files": {"a": "k"}},
        {"verdict": {}},
        {"verdict": {"status": "promote"}},
        {"verdict": {"reasons": []}},
        {"verdict": None},
        {"metrics": []},
        {"metrics": None},
    ],
)
def test_a_manifest_that_this_program_does_not_know_is_refused(change: dict[str, Any]) -> None:
    fields = json.loads(make_manifest().to_bytes()) | change
    with pytest.raises(IntegrityError, match="damaged"):
        Manifest.from_bytes(json.dumps(fields).encode(), "k")


@pytest.mark.parametrize("data", [b"[]", b"null", b'"x"', b"7", b"\xff\xfe", b"{}"])
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="damaged"):
        Manifest.from_bytes(data, "k")


def test_the_environment_names_what_numbers_depend_on() -> None:
    found = environment({"mlp.v1": "a-package 1.2", "scale.v1": "mnist-pipeline 0"})
    assert found["python"] == platform.python_version()
    assert found["numpy"] == np.__version__
    assert found["pyarrow"] == pa.__version__
    assert found["blas_threads"] == "1"
    assert {"blas", "blas_kernels", "simd", "machine"} <= set(found)
    assert all(isinstance(value, str) and value for value in found.values())
    assert packages_in(found) == {"mlp.v1": "a-package 1.2", "scale.v1": "mnist-pipeline 0"}
    assert packages_in({"numpy": "2"}) == {}


def test_another_processor_is_another_environment() -> None:
    program = (
        "from mnist_pipeline.store.manifest import environment; "
        "print(environment({})['blas_kernels'])"
    )
    kernels = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"OPENBLAS_CORETYPE": core},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for core in ("Haswell", "Nehalem")
    }
    if kernels == {"?\n"}:
        pytest.skip("this NumPy's BLAS does not tell for which processors it works")
    assert len(kernels) == 2
