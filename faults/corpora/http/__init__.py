"""HTTP as no client sends it, byte by byte, and what has to be answered."""
