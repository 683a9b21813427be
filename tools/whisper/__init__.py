"""The recipe of the test Whisper: a small model of the real architecture, trained on generated speech."""
