"""Developer tools; no service imports them."""
