"""Payment providers: whoever takes the money."""
