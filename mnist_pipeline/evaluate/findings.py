"""Findings of gates in other packages: looked at before anybody acts on them."""

from __future__ import annotations

import re
from typing import get_args

from mnist_pipeline.evaluate.gate import Finding, Status
from mnist_pipeline.plugins import OURS, BrokenPluginError, info_of

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


def checked(gate: object, finding: Finding) -> Finding:
    """A gate's finding, if it is one; plugins of other packages may give anything.

    Raises:
        BrokenPluginError: it is none.
    """
    info = info_of("gate", gate)
    flaw = flaw_of(finding) if info and info.package != OURS else None
    if info and flaw:
        raise BrokenPluginError.of(info, f"breaks its protocol: {flaw}")
    return finding
