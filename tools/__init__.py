"""What only the releaser runs, each as `python -m tools.NAME`."""
