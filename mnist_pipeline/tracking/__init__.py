"""Versions on an MLflow tracking server: as runs, and as models that MLflow loads."""
