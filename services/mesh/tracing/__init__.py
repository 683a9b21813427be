"""Traces: one tree of spans from a request to all that came of it, in whichever process, as OpenTelemetry and W3C Trace Context have it."""
