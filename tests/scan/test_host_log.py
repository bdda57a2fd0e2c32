"""What is heard in the scanner's log of modules that fail. What the real scanner logs is in tests/host."""

from __future__ import annotations

import logging
import queue
import threading
import types
from collections.abc import Iterator
from logging.handlers import QueueHandler
from typing import Any

import pytest

from sfwebhooks.endpoints import Secret
from sfwebhooks.own_secrets import ERROR_MAX
from sfwebhooks.scan.host_log import (
    ERRORS_MAX,
    EXCEPTIONS_MAX,
    KEPT_MAX,
    LISTENERS,
    POOL,
    ErrorListener,
    _module,
    event_of_error,
    listen,
    stop_listening,
    unset_event,
)
from sfwebhooks.severity import Severity
from tests.builders import a_scan, an_endpoint

SCAN = a_scan()
OPTIONS = {
    "_socks5pwd": "the proxy's password",
    "_fetchtimeout": 5,
    "__modules__": {"sfp_shodan": {"opts": {"api_key": "key-of-shodan", "netblocklookup": True}}},
}


@pytest.fixture
def heard() -> Iterator[ErrorListener]:
    """A listener at the host's logger, behind the host's own handler."""
    logger = logging.getLogger("spiderfoot")
    host = QueueHandler(queue.Queue())
    logger.addHandler(host)
    listen(SCAN.id, OPTIONS)
    yield LISTENERS[SCAN.id]
    stop_listening(SCAN.id)
    logger.removeHandler(host)


def module_logs(text: str, module: str = "sfp_x") -> None:
    """A module logs an error by itself."""
    logging.getLogger(f"spiderfoot.{module}").error(text, extra={"scanId": SCAN.id})


def host_logs(text: str, error: BaseException | None = None) -> None:
    """The host logs one where it catches it."""
    logger = logging.getLogger("spiderfoot.sflib")
    if error is None:
        logger.error(text)
        return
    try:
        raise error
    except type(error):
        logger.error(text)


def raise_in(path: str, error: BaseException) -> None:
    """Raise in a function of a file of that path."""
    module = types.ModuleType("made")
    exec(compile("def explode(error): raise error", path, "exec"), vars(module))
    module.explode(error)


def kinds(listener: ErrorListener) -> list[tuple[str, str, str]]:
    return [(error.module, error.exception, error.text) for error in listener.heard()]


def data_of(listener: ErrorListener, *endpoints: Any) -> dict[str, Any]:
    """Return the data of the event that tells the only error."""
    (error,) = listener.heard()
    return dict(event_of_error(error, SCAN, endpoints, listener.credentials).data)


@pytest.mark.parametrize(
    ("text", "module"),
    [
        ("Module (modules.sfp_out) encountered an error: 'x'", "sfp_out"),
        ("Exception (KeyError) in module sfp__stor_out.Traceback (most recent call last):\n ...", "sfp__stor_out"),
        ("Module sfp_out initialization failed", "sfp_out"),
        ("Module sfp_out socket setup failed: 'x'", "sfp_out"),
    ],
)
def test_what_the_host_says_of_a_module_is_heard(text: str, module: str, heard: ErrorListener) -> None:
    host_logs(text, KeyError("x"))
    assert kinds(heard) == [(module, "KeyError", "'x'")]


def test_a_module_that_cannot_be_loaded_is_heard_without_an_exception(heard: ErrorListener) -> None:
    host_logs("Failed to load module: sfp_gone")
    assert kinds(heard) == [("sfp_gone", "", "Failed to load module: sfp_gone")]


def test_an_error_of_the_pool_is_that_of_the_module_whose_task_it_was(
    heard: ErrorListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.current_thread(), "taskName", "sfp_x_threadWorker", raising=False)
    host_logs("Error in thread worker shared_1: Traceback ...", ValueError("no"))
    assert kinds(heard) == [("sfp_x", "ValueError", "no")]


def test_an_error_of_a_modules_own_threads_is_that_of_the_last_module_in_the_traceback(heard: ErrorListener) -> None:
    try:
        raise_in("/site-packages/modules/sfp_dns.py", ValueError("no"))
    except ValueError:
        logging.getLogger("spiderfoot.spiderfoot.threadpool").error("Error in thread worker _1: Traceback ...")
    assert kinds(heard) == [("sfp_dns", "ValueError", "no")]


def test_an_error_of_the_pool_without_a_module_is_nobodys(heard: ErrorListener) -> None:
    host_logs("Error in thread worker _1: Traceback ...", ValueError('File "/modules/sfp_evil.py"'))
    assert kinds(heard) == []


def test_an_error_that_a_module_logs_is_heard_as_it_is_logged(heard: ErrorListener) -> None:
    module_logs("Unable to fetch data from Dehashed.")
    assert kinds(heard) == [("sfp_x", "", "Unable to fetch data from Dehashed.")]


def test_an_error_that_a_module_logs_where_it_catches_has_the_exception(heard: ErrorListener) -> None:
    try:
        raise KeyError("data")
    except KeyError as error:
        module_logs(f"strange reply: {error}")
    assert kinds(heard) == [("sfp_x", "KeyError", "strange reply: 'data'")]


# as the modules of SpiderFoot 4.0 write it, but for their names
@pytest.mark.parametrize(
    "text",
    [
        "You enabled sfp_x but did not set an API key!",
        "You enabled sfp_x, but did not set an API key!",
        "You enabled sfp_x but did not set a Google or Bing API key!",
        "You enabled sfp_x but did not set an API uid/secret!",
        "You enabled sfp_x but did not set account sid/auth token",
        "You enabled sfp_x but did not set any API keys!",
        "You enabled sfp_x but did not set a path to the tool!",
        "Warning: You enabled sfp_x but did not set an API key! Queries will be rate limited.",
    ],
)
def test_modules_that_lack_a_setting_have_failed_and_are_not_reported_one_by_one(
    text: str, heard: ErrorListener
) -> None:
    module_logs(text)
    module_logs("and now it does not work")
    module_logs(text, "sfp_y")
    assert (heard.unset, heard.failed) == ({"sfp_x", "sfp_y"}, {"sfp_x", "sfp_y"})
    assert kinds(heard) == [("sfp_x", "", "and now it does not work")]


@pytest.mark.parametrize(
    "text",
    ["Invalid API key.", "Failed to obtain API key", "You are being rate-limited; you did not set an API key"],
)
def test_a_setting_that_is_refused_is_an_error_of_its_own(text: str, heard: ErrorListener) -> None:
    module_logs(text)
    assert (heard.unset, heard.failed, len(heard.heard())) == (set(), {"sfp_x"}, 1)


def test_all_modules_that_lack_a_setting_are_one_event() -> None:
    event = unset_event({"sfp_b", "sfp_a"}, SCAN)
    assert (event.type, event.severity, event.data["modules"]) == ("module_error", Severity.LOW, ["sfp_a", "sfp_b"])
    assert event.data["error"].endswith("they need: sfp_a, sfp_b")
    assert event.id == unset_event({"sfp_c"}, SCAN).id


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING])
def test_a_record_below_error_is_not_heard(level: int, heard: ErrorListener) -> None:
    logging.getLogger("spiderfoot.sfp_x").log(level, "Module sfp_x initialization failed")
    assert kinds(heard) == []


def test_the_same_error_is_heard_once_and_another_one_too(heard: ErrorListener) -> None:
    for number in range(3):
        host_logs("Module sfp_a initialization failed", KeyError(number))
        host_logs("Module sfp_a initialization failed", OSError("x"))
        host_logs("Module sfp_b initialization failed", KeyError(number))
        module_logs(f"number {number}")
    assert kinds(heard) == [
        ("sfp_a", "KeyError", "0"),
        ("sfp_a", "OSError", "x"),
        ("sfp_b", "KeyError", "0"),
        ("sfp_x", "", "number 0"),
    ]


@pytest.mark.parametrize("name", ["webhooks", "sfp__stor_webhooks", "sflib"])
def test_nothing_is_heard_of_ourselves(name: str, heard: ErrorListener) -> None:
    for text in (
        "webhooks: a bug",
        "Exception (OSError) in module sfp__stor_webhooks.",
        "Error in thread worker _1: T",
    ):
        try:
            raise_in("/site-packages/modules/sfp__stor_webhooks.py", OSError("x"))
        except OSError:
            logging.getLogger(f"spiderfoot.{name}").error(text)
    assert kinds(heard) == []


def test_a_flood_of_errors_stays_small(heard: ErrorListener) -> None:
    for number in range(3 * EXCEPTIONS_MAX):
        host_logs("Module sfp_flood initialization failed", type(f"E{number}", (Exception,), {})())
    assert len(heard.heard()) == EXCEPTIONS_MAX
    for number in range(ERRORS_MAX):
        module_logs("x", f"sfp_{number}")
    assert len(heard.heard()) == ERRORS_MAX
    heard.drop(5)
    module_logs("x", "sfp_more")
    assert len(heard.heard()) == ERRORS_MAX - 5


def test_a_long_error_is_cut(heard: ErrorListener) -> None:
    module_logs("x" * 10_000_000)
    assert len(heard.heard()[0].text) == KEPT_MAX
    assert len(data_of(heard)["error"]) == ERROR_MAX


class UnsayableError(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_what_cannot_be_said_disturbs_nobody(heard: ErrorListener, capsys: pytest.CaptureFixture[str]) -> None:
    host_logs("Module sfp_a initialization failed", UnsayableError())
    host_logs("Module sfp_b initialization failed", KeyError("x"))
    assert (kinds(heard), capsys.readouterr().err) == ([("sfp_b", "KeyError", "'x'")], "")


def test_the_event_says_which_module_and_what(heard: ErrorListener) -> None:
    host_logs("Module sfp_a initialization failed", KeyError("x\ud800"))
    (error,) = heard.heard()
    event = event_of_error(error, SCAN, (), ())
    assert (event.type, event.severity, event.at, event.scan) == ("module_error", Severity.LOW, error.at, SCAN)
    about = {"scan_id": SCAN.id, "target": SCAN.target, "target_type": SCAN.target_type}
    assert event.data == {
        **about,
        "module": "sfp_a",
        "modules": ["sfp_a"],
        "exception": "KeyError",
        "error": "'x\\ud800'",
    }


def test_no_secret_of_an_endpoint_nor_credential_of_the_scanner_is_sent(heard: ErrorListener) -> None:
    endpoint = an_endpoint(api_key=Secret("key-of-the-endpoint"))
    module_logs("GET https://shodan/?key=key-of-shodan via the%20proxy's%20password for key-of-the-endpoint failed")
    assert data_of(heard, endpoint)["error"] == "GET https://shodan/?key=*** via *** for *** failed"


@pytest.mark.parametrize(
    "name",
    ["_socks4user", "_socks5pwd", "api_key", "censys_api_key_uid", "api_key_login", "user_id", "username", "apikey"],
)
def test_each_option_of_the_host_that_is_part_of_a_login_is_a_credential(name: str) -> None:
    for options in (
        {name: "nobody-knows", "__modules__": {}},
        {"__modules__": {"sfp_x": {"opts": {name: "nobody-knows"}}}},
    ):
        assert ErrorListener(options).credentials == {"nobody-knows"}


def test_other_options_of_the_host_may_be_sent() -> None:
    others = {
        "_useragent": "Mozilla/5.0",
        "_genericusers": "abuse,admin",
        "_socks2addr": "proxy.example",
        "publicapi": "yes",
    }
    assert ErrorListener({**others, "__modules__": {}}).credentials == frozenset()


def test_a_secret_at_the_place_of_the_cut_is_not_shown_in_part(heard: ErrorListener) -> None:
    module_logs("x" * (ERROR_MAX - 5) + "key-of-shodan")
    assert data_of(heard)["error"] == "x" * (ERROR_MAX - 5) + "***"


def test_it_stays_behind_the_hosts_handler_and_leaves_it_there() -> None:
    logger = logging.getLogger("spiderfoot")
    records: queue.Queue[logging.LogRecord] = queue.Queue()
    host = QueueHandler(records)
    logger.addHandler(host)
    try:
        listen(SCAN.id, OPTIONS)
        listener = LISTENERS[SCAN.id]
        assert logger.handlers[-2:] == [host, listener]
        host_logs("Module sfp_a initialization failed", KeyError("x"))
        assert records.get_nowait().getMessage() == "Module sfp_a initialization failed"
        stop_listening(SCAN.id)
        stop_listening(SCAN.id)
        assert (logger.handlers[-1], SCAN.id in LISTENERS) == (host, False)
    finally:
        logger.removeHandler(host)


def test_an_error_of_the_hosts_pool_without_an_exception_is_of_no_module(heard: ErrorListener) -> None:
    host_logs(f"{POOL} x")
    assert heard.heard() == []
    assert _module(logging.makeLogRecord({"name": "spiderfoot.threadpool", "msg": f"{POOL} x"}), None) == ""


def test_a_credential_has_four_characters_at_least() -> None:
    options = {"_socks5pwd": "four", "_socks4user": "abc", "__modules__": {}}
    assert ErrorListener(options).credentials == {"four"}


def test_an_error_without_an_exception_names_none(heard: ErrorListener) -> None:
    module_logs(" it does not work\n")
    data = data_of(heard)
    assert ("exception" in data, data["error"]) == (False, "it does not work")
