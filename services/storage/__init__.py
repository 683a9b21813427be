"""Storage: every byte that Steno keeps, and what is known of it."""
