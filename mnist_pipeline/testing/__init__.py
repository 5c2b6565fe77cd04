"""Conformance: what each seam promises, held against a plugin; for the tests of its authors.

    from mnist_pipeline.testing import check_normalizer

    def test_minmax_keeps_its_promises():
        check_normalizer(MinMax())

Each function returns nothing, or raises a `BrokenPromiseError` that says which promise does not
hold and what was found. Models, normalizers and gates of other packages are held against these
promises before every run that names them, too.
"""

from mnist_pipeline.testing.gates import check_gate
from mnist_pipeline.testing.models import check_model
from mnist_pipeline.testing.normalizers import check_normalizer
from mnist_pipeline.testing.promises import BrokenPromiseError
from mnist_pipeline.testing.publishers import check_publisher
from mnist_pipeline.testing.sources import check_source

__all__ = [
    "BrokenPromiseError",
    "check_gate",
    "check_model",
    "check_normalizer",
    "check_publisher",
    "check_source",
]
