"""The engine of an installation with a Triton Inference Server: one asyncio client that waits when the server cannot."""
