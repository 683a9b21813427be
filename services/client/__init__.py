"""The command line's client: Steno's REST API as a person at a terminal uses it."""
