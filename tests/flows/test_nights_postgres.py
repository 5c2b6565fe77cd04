"""A night on PostgreSQL: the server of a team."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from nightly import Nights
from real import Prefect, free_port, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


def binaries() -> Path | None:
    """The folder of PostgreSQL's programs: Debian keeps them off the path."""
    on_path = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(on_path).parent if on_path else debian[-1].parent if debian else None


@pytest.fixture
def postgres() -> Iterator[str]:
    """A PostgreSQL of its own; yields the URL that Prefect wants."""
    programs = binaries()
    if programs is None:
        assert "CI" not in os.environ, "PostgreSQL is missing: apt-get install postgresql"
        pytest.skip("PostgreSQL is not installed")
    # It refuses to run as root, and pytest's folders are closed to anybody else.
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    folder, port = Path(tempfile.mkdtemp(prefix="postgres-")), free_port()
    if as_user:
        shutil.chown(folder, "postgres")

    def run(program: str, *words: str) -> None:
        command = [*as_user, str(programs / program), "-D", str(folder / "data"), *words]
        with (folder / "log").open("ab") as log:
            subprocess.run(command, cwd=folder, stdout=log, stderr=log, check=True)

    try:
        run("initdb", "--username", "prefect", "--auth", "trust", "--no-sync")
        run("pg_ctl", "start", "-w", "-o", f"-h 127.0.0.1 -p {port} -k {folder} -F")
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(folder)


def test_a_scheduled_night_on_postgresql(postgres: str, tmp_path: Path) -> None:
    prefect = Prefect(tmp_path / "server", PREFECT_SERVER_DATABASE_CONNECTION_URL=postgres)
    try:
        prefect.start_server()
        nights = Nights(prefect, tmp_path / "nights")
        nights.training_alone()
        nights.configure(epochs=2)
        nights.new_data(seed=1)
        nights.deploy("--every", "5")
        prefect.start_worker(nights.elsewhere)
        (run, *_) = wait_for(lambda: nights.runs("Completed"), 120)
        assert run["auto_scheduled"]
        assert nights.versions() == 1
        assert "locked" not in (prefect.home / "server.log").read_text()
        assert not (prefect.home / "prefect.db").exists()  # it is PostgreSQL that was used
    finally:
        prefect.stop()
