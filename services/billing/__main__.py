"""`python -m services.billing`: runs billing."""

from services.billing.app import app
from services.billing.settings import BillingSettings
from services.mesh.run import run

if __name__ == "__main__":
    run(app, BillingSettings)
