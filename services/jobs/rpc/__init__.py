"""The gRPC face of jobs."""
