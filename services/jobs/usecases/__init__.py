"""What jobs can do, one function each."""
