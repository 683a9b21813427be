"""What a mutant is put through; each module holds the scenarios of one kind of promise."""
