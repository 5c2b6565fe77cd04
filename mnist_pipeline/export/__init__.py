"""Versions in formats of other programs, for use without this one."""
