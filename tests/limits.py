"""The times and limits of a room, as its modules have them.

Tests import such numbers from the code, so they agree with any value: here each has the value that was chosen.
"""

from __future__ import annotations

import ast
import importlib
import math
from pathlib import Path
from typing import Union

ROOT = Path(__file__).parents[1]
Limits = dict[str, Union[int, float]]


def limits_of(room: str) -> Limits:
    """Return "module.NAME" -> value of all numbers that the modules of a room have at their top."""
    found: Limits = {}
    for path in sorted((ROOT / "sfwebhooks" / room).glob("*.py")):
        module = importlib.import_module(f"sfwebhooks.{room}.{path.stem}")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for target in node.targets if isinstance(node, ast.Assign) else ():
                value: object = getattr(module, target.id, None) if isinstance(target, ast.Name) else None
                if isinstance(target, ast.Name) and isinstance(value, (int, float)) and math.isfinite(value):
                    found[f"{path.stem}.{target.id}"] = value
    return found
