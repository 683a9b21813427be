"""Runs the service: `python -m services.jobs`."""

from services.jobs.app import app
from services.jobs.settings import JobsSettings
from services.mesh.run import run

if __name__ == "__main__":
    run(app, JobsSettings)
