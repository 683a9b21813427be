"""Alembic's environment of billing."""

from services.billing.store.tables import metadata
from services.mesh.migrations import run_env

run_env(metadata)
