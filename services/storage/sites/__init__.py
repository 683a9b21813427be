"""Sites whose pages are not media themselves: where the audio of a page lies, and whether it may be fetched."""
