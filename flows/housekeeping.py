"""The housekeeping flow: what nothing needs any more is removed from a workspace.

Annotations are not postponed here: `serve` pickles the flow's function by value, and the names of
its types would not be found on the other side.
"""

from datetime import timedelta
from typing import Any

from prefect import flow
from prefect.logging import get_run_logger

from mnist_pipeline.store.housekeeping import sweep
from mnist_pipeline.store.objects import Store, WorkspaceMissingError
from mnist_pipeline.store.survey import Policy


@flow(
    name="housekeeping",
    flow_run_name="tidy {workspace}",
    description="Remove what nothing needs any more; never what a version names.",
    persist_result=False,
)
def housekeeping_flow(
    workspace: str = "workspace",
    grace_hours: float = 24,
    keep_runs: int = 30,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Remove what nothing needs any more; never what a version names.

    Args:
        workspace: a folder or a URL.
        grace_hours: nothing younger is removed.
        keep_runs: everything of so many of the newest runs stays.
        dry_run: only say what would go.

    Returns:
        What `mnist-pipeline gc --json` answers; nothing where there is no workspace yet.

    Raises:
        PipelineError: the workspace is damaged; nothing was removed then.
    """
    log = get_run_logger()
    try:
        store = Store.open(workspace, writable=False)
    except WorkspaceMissingError:
        log.info("there is no workspace yet")
        return {}
    if not dry_run:
        store = Store.open(workspace)
    swept = sweep(store, Policy(timedelta(hours=grace_hours), keep_runs), dry_run=dry_run)
    found: dict[str, Any] = swept.to_json()
    for note in found["notes"]:
        log.warning("%s", note)
    for kind, things in found["removed"].items():
        if things["count"]:
            log.info("%s: %s, %s bytes", kind, f"{things['count']:,}", f"{things['bytes']:,}")
    verb = "would be removed" if dry_run else "removed"
    log.info("%s things %s, %s bytes", f"{found['count']:,}", verb, f"{found['bytes']:,}")
    return found
