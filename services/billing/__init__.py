"""Owns workspaces, API keys, plans and the ledger."""
