from __future__ import annotations

import importlib

import pytest

from sfwebhooks.redaction import for_everybody
from sfwebhooks.sensitive import WITHHELD


@pytest.mark.parametrize("module", ["sfp_creditcard", "sfp_iban"])
def test_what_a_module_reads_secrets_out_of_is_withheld_too(module: str) -> None:
    plugin = getattr(importlib.import_module(f"modules.{module}"), module)()
    read = plugin.watchedEvents()
    assert read
    assert {for_everybody(host_type, "4111111111111234") for host_type in read} == {WITHHELD}
