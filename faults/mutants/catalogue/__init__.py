"""The mutants, by the part of the product that they break."""
