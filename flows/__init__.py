"""The pipeline wired as Prefect flows; no logic of its own."""
