"""What SpiderFoot's own tests demand of each module, of the host that is installed here."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from sfwebhooks.events import clean_text
from sfwebhooks.host.plugin import sfp__stor_webhooks

USE_CASES = {"Footprint", "Passive", "Investigate"}


@pytest.fixture
def module() -> Any:
    return sfp__stor_webhooks()


def test_what_it_watches_and_produces_are_lists(module: Any) -> None:
    assert (module.watchedEvents(), module.producedEvents()) == (["*"], [])


def test_what_it_says_of_itself_is_what_the_host_takes(module: Any) -> None:
    said = module.asdict()
    assert said["consumes"] == ["*"]
    assert all(isinstance(said[name], list) for name in ("cats", "group", "labels", "provides", "consumes"))
    assert set(said["group"]) <= USE_CASES
    assert said["name"] == clean_text(said["name"]) != ""
    assert said["opts"].keys() == said["optdescs"].keys()


def test_it_can_be_set_up_without_options_and_pickled(module: Any) -> None:
    module.setup(object(), {})
    assert pickle.loads(pickle.dumps(sfp__stor_webhooks())).watchedEvents() == ["*"]
