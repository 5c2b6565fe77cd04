"""What is going on in a workspace, for `mnist-pipeline status` and its first page."""
