"""The Icana contract, served at /icana/api/v1."""
