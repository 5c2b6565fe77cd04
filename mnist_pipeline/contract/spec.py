"""The contract between data and model: what an image is, and which classes there are."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from mnist_pipeline.refs import digest_of

DIGITS = tuple("0123456789")


@dataclasses.dataclass(frozen=True)
class ImageContract:
    """Images of `height` × `width` uint8 pixels, row-major, 0 = background, one of `classes` each.

    `classes` are names; a label is the index of its name. They set the network's output layer.
    """

    height: int = 28
    width: int = 28
    classes: tuple[str, ...] = DIGITS
    version: int = 1

    @property
    def pixels(self) -> int:
        """Pixels an image: height × width."""
        return self.height * self.width

    @functools.cached_property
    def fingerprint(self) -> str:
        """The sha256 of everything above: goes into every file and every bundle."""
        return digest_of(self.to_json())

    def differences(self, found: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """The fields of `found` that are otherwise here: (what it has, what is expected).

        Args:
            found: `height`, `width`, `pixels`, `dtype`, and `first` and `last` where every pixel
                is a column, as far as they are known.
        """
        own = {"height": self.height, "width": self.width, "pixels": self.pixels, "dtype": "uint8"}
        own |= {"first": "pixel0", "last": f"pixel{self.pixels - 1}"}
        return {name: (it, own[name]) for name, it in found.items() if it != own[name]}

    def to_json(self) -> dict[str, Any]:
        return {
            "height": self.height,
            "width": self.width,
            "dtype": "uint8",
            "classes": list(self.classes),
            "version": self.version,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ImageContract:
        return cls(data["height"], data["width"], tuple(data["classes"]), data["version"])
