"""What the campaigns against the doors are made of: who may come in, what goes out, what leaks."""
