"""Alembic's entry: the tables of jobs."""

from services.jobs.store.tables import Table
from services.mesh.migrations import run_env

run_env(Table.metadata)
