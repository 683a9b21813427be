"""Media that lies, breaks off, explodes or reaches for other files, each with what Steno must make of it."""
