"""Alembic's environment of storage."""

from services.mesh.migrations import run_env
from services.storage.store.tables import METADATA

run_env(METADATA)
