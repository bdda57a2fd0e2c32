"""Write the golden files again.

    python -m tests.golden [--record]

Without --record the events stay as they are, and each format's file gets what the format makes of them now: read the
difference before you commit it. With --record the real scanner, which must be installed, scans the demo's company
first, in half a minute.
"""

from __future__ import annotations

import argparse

from sfwebhooks.formats import FORMATS
from tests.golden import recording, rendering


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description="Write the golden files again.")
    parser.add_argument("--record", action="store_true", help="scan first, and write scan.json")
    if parser.parse_args().record:
        recording.write(recording.record())
    events = recording.events()
    for name in FORMATS:
        rendering.file_of(name).write_text(rendering.golden(name, events), encoding="utf-8", newline="")
    print(f"{len(FORMATS)} files of {len(events)} events in {recording.FOLDER}")


if __name__ == "__main__":
    main()
