"""Where rows come from: one plugin a file, each yielding blocks of parsed records."""
