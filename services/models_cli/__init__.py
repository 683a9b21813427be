"""`steno models`: getting speech models in, exporting them, checking them, taking them away."""
