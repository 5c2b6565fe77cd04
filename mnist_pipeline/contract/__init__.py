"""What data must be: the contract, the facts it is judged by, the fate of rows that fail."""
