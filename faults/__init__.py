"""The proof of reliability: seeded faults against whole meshes, and corpora of hostile input against their doors."""
