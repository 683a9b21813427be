"""Transcribe: audio to a stream of segments, without a job."""
