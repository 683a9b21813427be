"""gRPC services of storage."""
