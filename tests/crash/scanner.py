"""A machine that scans, as a program: one scan after the other. It notes in a file what of their findings was accepted;
the host's database has all of them.

    main(FOLDER, NAME, FINDINGS, UNTIL, SEED)
"""

from __future__ import annotations

import logging
import os
import sys
import time
from itertools import count
from pathlib import Path
from random import Random

from sfwebhooks.sending import load_senders
from tests.scanning import Scanning

#: its notes, one a line: the id of a scan, and the hash of a finding
NOTES = "notes"
#: when each scan was over, in monotonic seconds
OVER = "over"
#: types of findings, of which endpoints want all, or the high ones
HIGH, LOW = "VULNERABILITY_CVE_HIGH", "VULNERABILITY_CVE_LOW"
#: findings of a scan, and how many come at once, at least and at most
OF_SCAN = (40, 120)
AT_ONCE = (1, 15)


class Scanner:
    """The program.

    Args:
        name: begins the ids of its scans, which no other process may give.
        until: when it is to have found all, in monotonic seconds.
    """

    def __init__(self, folder: Path, name: str, until: float, random: Random) -> None:
        self._folder = folder
        self._name = name
        self._until = until
        self._random = random
        self._left = 0
        self._notes = os.open(folder / NOTES, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def run(self, findings: int) -> None:
        """Scan until so many were found."""
        self._left = findings
        for number in count(1):
            of_scan = min(self._left, self._random.randint(*OF_SCAN))
            if not of_scan:
                return
            self._scan(Scanning(self._folder, f"{self._name}-{number}"), of_scan)

    def _scan(self, scanning: Scanning, findings: int) -> None:
        run = scanning.begin()
        found, noted = 0, 0
        while found < findings:
            at_once = min(findings - found, self._random.randint(*AT_ONCE))
            scanning.find(at_once, self._random.choice((HIGH, LOW)))
            found += at_once
            if not run._trouble and not run._pending:  # else some are in memory
                accepted = [f"{scanning.scan.id} hash-{number}\n" for number in range(noted, found)]
                os.write(self._notes, "".join(accepted).encode())
                noted = found
            self._left -= at_once
            time.sleep(max(self._until - time.monotonic(), 0.0) * at_once / (self._left + at_once))
        scanning.finish()
        with (self._folder / OVER).open("a") as over:
            over.write(f"{time.monotonic()}\n")


def main() -> None:
    folder, name, findings, until, seed = sys.argv[1:]
    logging.basicConfig(filename=f"{folder}/log", level=logging.INFO, format="%(asctime)s %(message)s")
    load_senders()
    Scanner(Path(folder), name, float(until), Random(seed)).run(int(findings))
