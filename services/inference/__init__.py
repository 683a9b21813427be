"""Turns audio into transcripts: takes work from the queue and runs the speech models."""
