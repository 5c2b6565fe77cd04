"""Scoring: files of images in, files of answers out, every row accounted for."""
