"""Transcription jobs: one order each, from submit to its final state."""
