"""A build hook: adds a bill of materials (https://cyclonedx.org) to the wheel, in .dist-info/sboms (PEP 770).

The wheel contains no code of others. Its dependencies are listed as they are declared, without versions, since `pip`
chooses these where the wheel is installed. The same checkout gives the same bytes.
"""

import json
import re
import tempfile
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = re.compile(r"[A-Za-z0-9._-]+")


class SbomHook(BuildHookInterface):
    """Hatchling calls `initialize` before a build and `finalize` after it."""

    def initialize(self, version, build_data):
        """Write the file, and name it to the builder."""
        if version == "editable":
            return
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / f"{self.metadata.core.name}.cdx.json"
        path.write_text(json.dumps(bill(self.metadata), indent=2) + "\n", encoding="utf-8")
        # hatchling before 1.28, the last one for Python 3.9, does not know it
        build_data.setdefault("sbom_files", []).append(str(path))

    def finalize(self, version, build_data, artifact_path):
        """Remove the file."""
        if version != "editable":
            self.folder.cleanup()


def bill(metadata):
    """Return the bill of materials of the project."""
    core = metadata.core
    needed = {"required": core.dependencies, "optional": [one for some in _shipped(core) for one in some]}
    components = {}
    for scope, requirements in needed.items():
        for requirement in requirements:
            name = re.sub(r"[-_.]+", "-", NAME.match(requirement)[0]).lower()
            component = {"type": "library", "bom-ref": f"pkg:pypi/{name}", "name": name, "scope": scope}
            component |= {"purl": f"pkg:pypi/{name}", "properties": []}
            properties = components.setdefault(name, component)["properties"]
            properties.append({"name": f"{core.name}:requirement", "value": requirement})
    own = f"pkg:pypi/{core.name}@{metadata.version}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": core.name,
                "version": metadata.version,
                "description": core.description,
                "licenses": [{"license": {"id": core.license_expression}}],
                "purl": own,
            }
        },
        "components": list(components.values()),
        "dependencies": [{"ref": own, "dependsOn": [one["bom-ref"] for one in components.values()]}],
    }


def _shipped(core):
    """Return the requirements of the extras for users."""
    return [some for name, some in core.optional_dependencies.items() if name not in ("docs", "test")]
