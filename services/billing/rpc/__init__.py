"""gRPC: messages to use-case calls and back; nothing is decided here."""
