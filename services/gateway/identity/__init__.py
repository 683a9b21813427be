"""Who sent a request: API keys, tokens of outside issuers, guests and claims."""
