"""One function per thing that billing can do."""
