"""One module for each campaign: `python -m faults NAME`."""
