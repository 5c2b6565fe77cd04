"""A published version is made again from its manifest, and compared stage by stage."""
