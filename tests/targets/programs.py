"""A program behind frames, right in i_sqrt and i_exp; what it does in i_gelu is named by its first argument."""

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "implementations" / "clients"))

import client

BEGUN = struct.pack("<Q", 64) + b"{"


def raw(data):
    os.write(1, data)


def hangs():
    if "HANGS" in os.environ:
        Path(os.environ["HANGS"]).touch()
    time.sleep(3600)


def stalls():
    raw(BEGUN)
    time.sleep(3600)


def partial():
    raw(BEGUN)
    os._exit(0)


def garbage():
    raw(b"-7775\n6410\n")


def exits():
    print("no device", file=sys.stderr, flush=True)
    os._exit(7)


def dies():
    os.kill(os.getpid(), signal.SIGSEGV)


def raises():
    raise RuntimeError("the device is lost")


def frame(text, data=b""):
    """Answer with this instead, and go on."""
    raw(struct.pack("<Q", len(text)) + text + data)
    sys.stdout = sys.__stdout__
    client.serve(run)
    os._exit(0)


def shapes():
    frame(b'{"status":"ok","names":["out"],"arrays":[{"dtype":"int64","shape":[3,0]}]}')


def nan():
    frame(b'{"status":"ok","names":["out"],"arrays":[{"dtype":"float64","shape":[1]}]}', struct.pack("<d", float("nan")))


def malformed():
    frame(b'{"status":"ok","names":["out","y"],"arrays":[]}')


def breeds():
    """Leaves a child behind that does not know when to stop."""
    child = subprocess.Popen(["sleep", "3600"], stdin=subprocess.DEVNULL)
    Path(sys.argv[2]).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(3600)


def run(op, dialect, constants, operands):
    if op == "i_gelu" and sys.argv[1] != "right":
        globals()[sys.argv[1]]()
    return client.run(op, dialect, constants, operands)


if __name__ == "__main__":
    client.serve(run)
