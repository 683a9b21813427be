"""A trainer that misbehaves as it is told: `python played_trainer.py MODE FOLDER`. Its state is the number of its last epoch.

steady: to the end. dies-once: by SIGKILL in its third epoch, the first time. dies: at once, every time. dies-late: in the epoch after
the one that it began with. silent: says nothing, and has a child that does neither. refuses: with a sentence. babbles: no reports, then one
that lacks something.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MODE, FOLDER = sys.argv[1], Path(sys.argv[2])
PAUSE_SECONDS = 0.05


def say(**report: Any) -> None:
    """One report."""
    print(json.dumps(report), flush=True)


def die() -> None:
    """As by the kernel."""
    os.kill(os.getpid(), signal.SIGKILL)


def hold() -> None:
    """Go on without a word, and have a child do so."""
    with subprocess.Popen(["sleep", "600"]) as sleeper:
        (FOLDER / "pids").write_text(f"{os.getpid()} {sleeper.pid}")
        sleeper.wait()


def train() -> None:
    """Epoch by epoch."""
    order = json.loads((FOLDER / "order.json").read_text())
    checkpoint = FOLDER / "checkpoint.npz"
    began = int(checkpoint.read_text()) if checkpoint.exists() else 0
    for epoch in range(began + 1, order["epochs"] + 1):
        if (MODE == "dies-once" and epoch == 3 and not (FOLDER / "died").exists()) or (MODE == "dies-late" and epoch == began + 2):
            (FOLDER / "died").touch()
            die()
        time.sleep(PAUSE_SECONDS)
        state = FOLDER / f"checkpoint-{epoch}.npz"
        state.write_text(str(epoch))
        figures = {"epoch": epoch, "training_loss": 1 / epoch, "validation_loss": 2 / epoch, "validation_f1_score": began / 100}
        say(epoch=figures, checkpoint=str(state))
    model = FOLDER / "model.onnx"
    model.write_bytes(b"a detector")
    one = {"precision": 0.5, "recall": 0.25, "f1_score": 1 / 3, "support": 4, "threshold": 0.3}
    per_class = dict.fromkeys(order["artifact_types"], one)
    say(done={"model": str(model), "eval_metrics": {"precision": 0.5, "recall": 0.25, "f1_score": 1 / 3, "per_class": per_class}})


if MODE == "dies":
    die()
elif MODE == "silent":
    hold()
elif MODE == "refuses":
    say(failed={"reason": "LOSS_DIVERGED", "message": "The loss is no number."})
elif MODE == "babbles":
    print("neither JSON\n[]\n{}", flush=True)
    say(done={"model": "nowhere"})
    say(epoch={"epoch": "first"}, checkpoint="nowhere")
else:
    train()
