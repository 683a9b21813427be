"""Mutants: copies of the product with one defect each, to prove that the harness sees it."""
