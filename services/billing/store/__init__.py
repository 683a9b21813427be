"""Billing's tables and queries; nothing here commits."""
