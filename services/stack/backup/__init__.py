"""`steno backup` and `steno restore`."""
