"""Trains one detector, in a process of its own: `python -m services.inference.training FOLDER`."""
