"""Mutual TLS between the parts of a mesh: identities, certificates that change while a service runs, who may call what."""
