"""Tables and queries; a session comes in, nothing is committed."""
