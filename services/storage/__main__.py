"""`python -m services.storage`."""

from services.mesh.run import run
from services.storage.app import app
from services.storage.settings import StorageSettings

if __name__ == "__main__":
    run(app, StorageSettings)
