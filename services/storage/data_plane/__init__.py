"""The HTTP listener that bytes come in and go out by; they never cross gRPC."""
