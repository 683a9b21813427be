"""Certificates of a mesh whose authority lies on this machine: for development, and for `steno up --tls`."""
