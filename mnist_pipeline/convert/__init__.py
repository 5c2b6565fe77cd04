"""Data from one format into another: a file a format, where it is put, and what drives them."""
