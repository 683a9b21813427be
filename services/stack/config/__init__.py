"""`steno config`: what the services would read, and what is wrong with it."""
