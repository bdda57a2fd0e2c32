"""The times, limits and defaults of a room, as its modules have them.

Tests import such numbers from the code, so they agree with any value: here each has the value that was chosen.
"""

from __future__ import annotations

import ast
import importlib
import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Union

ROOT = Path(__file__).parents[1]
Limits = dict[str, Union[int, float]]


def limits_of(room: str) -> Limits:
    """Return "module.NAME" -> value of all numbers that the modules of a room have at their top, and of the defaults of
    their dataclasses "module.Class.field"."""
    found: Limits = {}
    for path in sorted((ROOT / "sfwebhooks" / room.replace(".", "/")).glob("*.py")):
        module = importlib.import_module(f"sfwebhooks.{room}.{path.stem}")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found.update(_defaults(path.stem, getattr(module, node.name)))
            for target in node.targets if isinstance(node, ast.Assign) else ():
                value: object = getattr(module, target.id, None) if isinstance(target, ast.Name) else None
                if isinstance(target, ast.Name) and isinstance(value, (int, float)) and math.isfinite(value):
                    found[f"{path.stem}.{target.id}"] = value
    return found


def _defaults(module: str, kind: Any) -> Limits:
    values = {one.name: one.default for one in fields(kind)} if is_dataclass(kind) else {}
    return {
        f"{module}.{kind.__name__}.{name}": value for name, value in values.items() if isinstance(value, (int, float))
    }
