"""A page that needs neither network nor scripts: what reports and the first page have in common."""

from __future__ import annotations

import functools
import importlib.resources
import string

from mnist_pipeline.evaluate.markup import Html, text


def page(title: str, body: Html) -> str:
    """A whole HTML document."""
    return string.Template(_resource("report.html")).substitute(
        title=text(title), css=_resource("report.css"), body=body
    )


@functools.cache
def _resource(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text("utf-8")
