"""Who speaks when: spans to embed, clusters of voices, turns."""
