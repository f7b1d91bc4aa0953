#!/usr/bin/env python3
"""A gateway in Python: takes sets of the profile "json" out of a drop directory and says what became of each recipient.

Usage: gateway.py DIRECTORY DONE
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path


def deliver(manifest, message, done):
    """Your work goes here. Returns the outcome of each recipient: (address, outcome, status, text)."""
    outcomes = []
    for recipient in manifest["recipients"]:
        address = recipient["address"]
        if address.startswith("refused"):
            outcomes.append((address, "failed", "5.1.1", "nobody is called so here"))
        else:
            outcomes.append((address, "done", "2.0.0", "printed"))
    if any(outcome == "done" for _, outcome, _, _ in outcomes):
        (done / (manifest["id"] + ".eml")).write_bytes(message)
    return outcomes


def say(directory, name, outcomes):
    """A result appears whole: it is written under a hidden name, and renamed."""
    blocks = (
        f"recipient: {address}\noutcome: {outcome}\nstatus: {status}\ntext: {text}\n"
        for address, outcome, status, text in outcomes
    )
    hidden = directory / f".{name}.new"
    hidden.write_text("\n".join(blocks), encoding="utf-8")
    os.rename(hidden, directory / f"{name}.result")


def take(directory, name, done):
    """Deals with one set, whose manifest is called so."""
    claimed = directory / f"{name}.work"
    try:
        # Of several gateways exactly one succeeds with this.
        os.rename(directory / name, claimed)
    except FileNotFoundError:
        return
    manifest = json.loads(claimed.read_text(encoding="utf-8"))
    if manifest["postern_manifest"] != 1:
        raise SystemExit(f"{name} is of version {manifest['postern_manifest']}, this gateway knows 1")
    member = directory / manifest["content"]["file"]
    message = member.read_bytes()
    if hashlib.sha256(message).hexdigest() != manifest["content"]["sha256"]:
        raise SystemExit(f"{member} is not what {name} says")
    say(directory, name, deliver(manifest, message, done))
    # The main file goes last: that it is gone is the pickup.
    member.unlink()
    claimed.unlink()


def main():
    directory, done = Path(sys.argv[1]), Path(sys.argv[2])
    while True:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".json"))
        for name in names:
            if not name.startswith("."):
                take(directory, name, done)
        time.sleep(0.2)


if __name__ == "__main__":
    main()
