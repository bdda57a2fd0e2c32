"""Take a seeded sample of the changes, run the tests that execute each, and print what was noticed by room.

A change is noticed if a test fails, or takes so long that it seems to hang.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.changes import ROOT, Mutant, all_mutants, equivalents
from tests.mutants.covering import Covering
from tests.mutants.running import is_noticed, passes_unchanged


@contextmanager
def folder_for_a_while() -> Iterator[Path]:
    """As tempfile.TemporaryDirectory, also while processes that were killed still write."""
    home = Path(tempfile.mkdtemp())
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def main() -> int:
    """Print the score by room and the survivors; return 1 if the score is below the goal."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--sample", type=int, default=300, help="number of changes")
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--goal", type=float, default=0.95, help="least part that must be noticed")
    parser.add_argument("--only", default="", help="run only sampled changes with these words")
    given = parser.parse_args()
    found, equivalent = all_mutants(), equivalents()
    unknown = equivalent.keys() - {str(one) for one in found}
    if unknown:
        print("equivalents.txt has changes that do not exist:", *sorted(unknown), sep="\n")
        return 2
    sample = random.Random(given.seed).sample(found, min(given.sample, len(found)))
    asked = [one for one in sample if given.only in str(one) and str(one) not in equivalent]
    print(f"{len(found)} changes, {len(sample)} sampled (seed {given.seed}), {len(asked)} to run", flush=True)
    folders: SimpleQueue[Path] = SimpleQueue()
    noticed, total = Counter[str](), Counter[str]()
    with folder_for_a_while() as home, ThreadPoolExecutor(given.jobs) as pool:
        for number in range(given.jobs):
            folder = Path(home, str(number))
            ignored = shutil.ignore_patterns(".git", ".venv*", "*cache*", "build", "*.egg-info")
            shutil.copytree(ROOT, folder, ignore=ignored)
            folders.put(folder)
        Path(home, "measured").mkdir()
        covering = Covering.measured(Path(home, "0"), Path(home, "measured"))
        if not passes_unchanged(covering, Path(home, "0")):
            print("tests fail without a change")
            return 2

        def run(mutant: Mutant) -> bool:
            folder = folders.get()
            try:
                return is_noticed(mutant, covering, folder)
            finally:
                folders.put(folder)

        for mutant, was_noticed in zip(asked, pool.map(run, asked)):
            total[mutant.room] += 1
            noticed[mutant.room] += was_noticed
            print(f"{'noticed ' if was_noticed else 'SURVIVED'} {mutant}", flush=True)
    for room in sorted(total):
        print(f"{room:12} {noticed[room]:4} of {total[room]:4}  {noticed[room] / total[room]:.0%}")
    score = sum(noticed.values()) / max(1, sum(total.values()))
    print(f"{'all':12} {sum(noticed.values()):4} of {sum(total.values()):4}  {score:.1%}")
    return 0 if score >= given.goal else 1


if __name__ == "__main__":
    sys.exit(main())
