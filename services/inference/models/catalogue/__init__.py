"""The Whisper models of an installation: where they lie, what each is, how they get there whole."""
