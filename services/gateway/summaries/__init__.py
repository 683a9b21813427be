"""What a transcript says in a few sentences."""
