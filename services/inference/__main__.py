"""Run the inference service."""

from services.inference.app import app
from services.inference.settings import InferenceSettings
from services.mesh.run import run

if __name__ == "__main__":
    run(app, InferenceSettings)
