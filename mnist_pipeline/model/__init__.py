"""Networks and their training in NumPy alone."""
