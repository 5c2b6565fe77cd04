"""Rows as Parquet: the canonical file, the layouts that can be read, the split."""
