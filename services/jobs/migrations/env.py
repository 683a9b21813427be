"""Alembic's entry: the tables of jobs."""

from services.jobs.store.detection_tables import DetectorRow
from services.mesh.migrations import run_env

# Of all tables of jobs: both modules of tables share one.
run_env(DetectorRow.metadata)
