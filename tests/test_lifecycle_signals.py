"""Ctrl-C anywhere (F48): SIGINT at random moments, in a child; `nox -s border` has many more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from border.ctrl_c import ROUNDS

import pyuring

ROOT = Path(__file__).resolve().parent.parent
TIMES = int(os.environ.get("PYURING_BORDER_TIMES", "1"))
SOME = {"engine": 25, "listen": 25, "ring": 60}


@pytest.mark.parametrize("what", ROUNDS)
def test_f48_ctrl_c_anywhere_leaves_what_can_be_closed(what: str, seed: int) -> None:
    script = ROOT / "tests" / "border" / "ctrl_c.py"
    done = subprocess.run(
        [sys.executable, str(script), what, str(TIMES * SOME[what]), str(seed)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(pyuring.__file__).parent.parent)},
        timeout=60 * TIMES,
        check=False,
    )
    print(done.stdout[-500:])
    assert done.returncode == 0, done.stdout + done.stderr
