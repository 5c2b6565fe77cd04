"""One plugin for each seam of mnist-pipeline, as somebody else's package has them."""
