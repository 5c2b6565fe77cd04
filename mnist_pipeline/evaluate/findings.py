"""Findings of gates in other packages: looked at before anybody acts on them."""

from __future__ import annotations

import re
from typing import Any, get_args

from mnist_pipeline.evaluate.gate import Finding, Status
from mnist_pipeline.guard import BrokenPluginError, received
from mnist_pipeline.plugins import PluginInfo

STATUSES = get_args(Status)


def flaw_of(finding: object) -> str | None:
    """Why something is no finding, in words; None if it is one."""
    if not isinstance(finding, Finding):
        return f"a {type(finding).__name__} is no Finding"
    if finding.status not in STATUSES:
        return f"{finding.status!r} is none of {', '.join(STATUSES)}"
    reasons = finding.reasons
    if not (isinstance(reasons, tuple) and reasons and all(isinstance(r, str) for r in reasons)):
        return f"reasons are {reasons!r}, and not sentences in a tuple"
    without = [reason for reason in reasons if not re.match(r"[a-z][a-z0-9_]*: \S", reason)]
    return f"{without[0]!r} is not of the form 'code: sentence'" if without else None


@received("gate", "judge")
@received("gate", "inspect")
def finding_of(info: PluginInfo, finding: Any, given: object) -> Finding:
    """What a gate of another package found, if it is a finding.

    Raises:
        BrokenPluginError: it is none.
    """
    del given
    if flaw := flaw_of(finding):
        raise BrokenPluginError.breach(info, flaw)
    found: Finding = finding
    return found
