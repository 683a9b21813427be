"""The ActionVibe contract, served at both spellings of its paths."""
