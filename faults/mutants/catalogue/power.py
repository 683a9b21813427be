"""Mutants that write less to the disk than they say."""

from faults.mutants.catalogue.mechanisms import RECONCILING
from faults.mutants.edits import Edit
from faults.mutants.mutant import Mutant, Scenario
from faults.mutants.promises import Promise
from faults.mutants.scenarios import keeping

CUT = Scenario("power cut after an order", keeping.power_cut, alone=True, loses_power=True)
CUT_BEFORE_CHARGE = Scenario("power cut before a charge", keeping.power_cut_before_charge, alone=True, loses_power=True)

MUTANTS = (
    Mutant(
        "databases sync at checkpoints",
        "SQLite commits without waiting for the disk.",
        [Edit("services/mesh/engines.py", '"synchronous=FULL"', '"synchronous=NORMAL"')],
        CUT,
        Promise.KEPT,
    ),
    Mutant(
        "recordings are not synced",
        "The bytes of a recording are renamed into place before they are on the disk.",
        [
            Edit("services/storage/blobs/directory.py", "            os.fsync(self._file.fileno())\n", ""),
        ],
        CUT,
        Promise.STORED,
    ),
    Mutant(
        "bus syncs every two minutes",
        "The bus acknowledges what is not on the disk, as is its default.",
        [Edit("services/mesh/nats_config.py", '            "sync_interval": "always",\n', "")],
        CUT_BEFORE_CHARGE,
        Promise.CONSERVED,
        without=[RECONCILING],
    ),
)
