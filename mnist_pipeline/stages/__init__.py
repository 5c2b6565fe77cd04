"""The stages of a training: one function a file, references in, references out."""
