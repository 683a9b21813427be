"""What storage can do, one function each."""
