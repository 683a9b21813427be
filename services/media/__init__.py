"""Hostile media in, facts and PCM out: probing and decoding in a sandboxed child process."""
