"""The native contract, served at /api/v1."""
