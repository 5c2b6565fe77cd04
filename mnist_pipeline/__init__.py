"""A data pipeline for models that read handwritten digits: ingest to published, gated version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_pipeline.store.bundles import load_folder as load_folder
    from mnist_pipeline.store.bundles import load_model as load_model

__version__ = "0.1.0"
__all__ = ["__version__", "load_folder", "load_model"]


def __getattr__(name: str) -> Any:
    # Lazily, so that `import mnist_pipeline` (and `mnist-pipeline --help`) stays free of NumPy.
    if name in ("load_folder", "load_model"):
        from mnist_pipeline.store import bundles

        return getattr(bundles, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
