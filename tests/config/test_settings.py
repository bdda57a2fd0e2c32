from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.cli import main
from sfwebhooks.config.contradictions import formats_for
from sfwebhooks.config.draft import MISTAKES_MAX, Draft, Mistake
from sfwebhooks.config.file import read_settings
from sfwebhooks.config.location import disabled, find_file
from sfwebhooks.config.options import GENERAL_OPTIONS, OPEN_OPTIONS, RESERVED_METADATA, all_options
from sfwebhooks.config.settings import Settings, load, load_mapping
from sfwebhooks.digesting import Digesting, Rhythm
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.formats.generic import message
from sfwebhooks.outbox.file import Storage
from tests.builders import a_delivery, an_endpoint
from tests.rows import in_one

TEAM = "[webhooks.team]\nurl = https://team.example/hook\n"
#: long enough that nobody warns of it, and not a sample
SECRET = "Zeppelin-over-Ithaca-1937"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#: stands in every place where a secret can be written
HIDDEN = "h1dden-and-never-shown"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SFWEBHOOKS_CONFIG", "SFWEBHOOKS_DISABLED"):
        monkeypatch.delenv(name, raising=False)


def written(folder: Path, text: str | bytes, name: str = "webhooks.ini", mode: int = 0o600) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def settings(folder: Path, text: str | bytes, **how: Any) -> Settings:
    return load(written(folder, text, **how))


def names(found: Settings) -> list[str]:
    """Return the endpoints that are sent to."""
    return [endpoint.name for endpoint in found.endpoints if not endpoint.mistake]


def only(found: Settings) -> Endpoint:
    assert found.mistakes == ()
    (endpoint,) = found.endpoints
    return endpoint


def mistake(found: Settings) -> Mistake:
    (one,) = found.mistakes
    return one


# --- what the guide promises, once its placeholders are filled in


GUIDE = """
[webhooks]
# Enable webhooks
enabled = true

# Default webhook URL
default_url = https://hooks.acme.example/webhook

# Webhook secret for signature verification
secret = Zeppelin-over-Ithaca-1937

# Events to send
events = scan_completed,high_risk_event,correlation_found

# Retry configuration
max_retries = 3
retry_delay = 30
"""


def test_a_chat_gets_one_message_at_a_time_by_default() -> None:
    chat: dict[str, Any] = {"url": "https://x.test/", "format": "slack"}
    found = load_mapping({"a": chat, "b": {**chat, "concurrency": 3}})
    assert [endpoint.concurrency for endpoint in found.endpoints] == [1, 3]


def test_a_chat_gets_one_message_a_second_by_default() -> None:
    chat: dict[str, Any] = {"url": "https://x.test/", "format": "slack"}
    found = load_mapping({"a": chat, "b": {**chat, "rate": "10/s"}, "c": {**chat, "format": "generic"}})
    assert [endpoint.interval for endpoint in found.endpoints] == [1.0, 0.1, 0.0]


@pytest.mark.parametrize("key", ["max_retries", "retry_delay"])
def test_two_ways_to_say_when_it_is_tried_again_are_a_contradiction(tmp_path: Path, key: str) -> None:
    found = settings(tmp_path, f"{TEAM}retry_schedule = 5s\n{key} = 3\n")
    assert "retry_schedule already sets the retries" in mistake(found).problem


@pytest.mark.parametrize(
    ("general", "own", "schedule"),
    [
        ("max_retries = 3", "retry_schedule = 7s", (7.0,)),
        ("retry_delay = 3s", "retry_schedule = 7s", (7.0,)),
        ("retry_schedule = 7s", "max_retries = 2", (5.0, 60.0)),
        ("retry_delay = 3s", "max_retries = 2", (3.0, 6.0)),
    ],
)
def test_an_endpoints_own_way_to_say_when_it_is_tried_again_overrules_the_inherited_one(
    tmp_path: Path, general: str, own: str, schedule: tuple[float, ...]
) -> None:
    assert only(settings(tmp_path, f"[webhooks]\n{general}\n{TEAM}{own}\n")).retry_schedule == schedule


def test_a_format_without_batches_takes_none(tmp_path: Path) -> None:
    found = settings(tmp_path, f"{TEAM}format = slack\nbatch_size = 10\n")
    assert f"batch_size requires one of the formats {', '.join(formats_for('batch_size'))}" in mistake(found).problem


def test_a_batch_size_for_all_is_not_meant_for_chats(tmp_path: Path) -> None:
    text = f"[webhooks]\nbatch_size = 10\n{TEAM}[webhooks.chat]\nurl = https://y.example/\nformat = slack\n"
    assert [one.batch_size for one in settings(tmp_path, text).endpoints] == [10, 1]


def test_a_fallback_for_all_is_not_its_own(tmp_path: Path) -> None:
    text = f"[webhooks]\nfallback = chat\n{TEAM}[webhooks.chat]\nurl = https://y.example/\n"
    assert [one.fallback for one in settings(tmp_path, text).endpoints] == ["chat", ""]


def test_how_the_outbox_is_kept_is_said_in_general(tmp_path: Path) -> None:
    text = "[webhooks]\noutbox_max_mb = 5\ndurability = power\nkeep_delivered = 1d\nkeep_dead = 2d\n"
    text += "sightings_keep = 800d\n"
    found = settings(tmp_path, text + TEAM)
    assert found.storage == Storage(max_bytes=5_000_000, power_safe=True)
    assert (found.keep_delivered, found.keep_dead) == (86400.0, 172800.0)
    assert found.sightings_keep == 800 * 86400.0


def test_the_lists_of_cves_are_named_in_general_and_not_read_yet(tmp_path: Path) -> None:
    text = f"[webhooks]\nkev_file = lists/kev.json\nepss_file = {tmp_path / 'epss.csv.gz'}\n{TEAM}"
    found = settings(tmp_path, text)
    assert (found.kev_file, found.epss_file) == (tmp_path / "lists" / "kev.json", tmp_path / "epss.csv.gz")
    assert (found.mistakes, [file.path for file in found.enrichment.files]) == ((), [found.kev_file, found.epss_file])
    assert found.enrichment is found.enrichment


@pytest.mark.parametrize("line", ["kev_file =", "epss_file =", "kev_file = ~nobody-here/kev.json"])
def test_a_list_without_a_name_is_a_mistake_and_holds_nobody(tmp_path: Path, line: str) -> None:
    found = settings(tmp_path, f"[webhooks]\n{line}\n{TEAM}")
    (mistake,) = found.mistakes
    assert mistake.problem.startswith("expected the name of a file")
    assert (names(found), found.held, found.enrichment.is_set) == (["team"], {}, False)


@pytest.mark.parametrize(
    "line",
    ["outbox_max_mb = 0", "durability = full", "keep_delivered = 0", "keep_dead = ever", "sightings_keep = 3651d"],
)
def test_a_wrong_word_about_the_outbox_leaves_nobody_out(tmp_path: Path, line: str) -> None:
    found = settings(tmp_path, f"[webhooks]\n{line}\n{TEAM}")
    assert (names(found), found.storage, len(found.mistakes)) == (["team"], Storage(), 1)


def test_an_endpoint_that_verifies_nothing_is_warned_of_at_every_start(tmp_path: Path) -> None:
    (warning,) = settings(tmp_path, f"{TEAM}verify_tls = false\nsecret = {SECRET}\n").warnings
    assert warning.startswith("team has verify_tls = false")


def test_the_guides_basic_setup_is_an_endpoint_named_default(tmp_path: Path) -> None:
    endpoint = only(settings(tmp_path, GUIDE))
    assert endpoint.name == "default"
    assert endpoint.url.reveal() == "https://hooks.acme.example/webhook"
    assert [secret.reveal() for secret in endpoint.secrets] == [SECRET]
    assert endpoint.events == ("scan_completed", "high_risk_event", "correlation_found")


def test_the_guides_basic_setup_is_in_every_scan(tmp_path: Path) -> None:
    assert settings(tmp_path, GUIDE).enabled is True


def test_the_guides_retries_double_from_the_delay_on(tmp_path: Path) -> None:
    assert only(settings(tmp_path, GUIDE)).retry_schedule == (30, 60, 120)


GUIDE_MAPPING = {
    "security_team": {
        "url": "https://security.company.com/webhook",
        "events": ["high_risk_event", "scan_completed"],
        "secret": "security-team-secret",
    },
    "siem_system": {
        "url": "https://siem.company.com/api/webhook",
        "events": ["all"],
        "secret": "siem-system-secret",
        "verify_tls": False,
    },
}


def test_the_guides_mapping_form_gives_the_same_endpoints_as_sections(tmp_path: Path) -> None:
    text = """
[webhooks.security_team]
url = https://security.company.com/webhook
events = high_risk_event, scan_completed
secret = security-team-secret
[webhooks.siem_system]
url = https://siem.company.com/api/webhook
events = all
secret = siem-system-secret
verify_tls = false
"""
    assert load_mapping(GUIDE_MAPPING).endpoints == settings(tmp_path, text).endpoints


def test_the_guides_tls_keys_are_read(tmp_path: Path) -> None:
    endpoint = only(
        load_mapping(
            {
                "secure": {
                    "url": "https://secure-webhook.company.com/endpoint",
                    "verify_tls": True,
                    "ca_bundle": "/path/to/ca-bundle.pem",
                    "client_cert": "/path/to/client.pem",
                    "client_key": "/path/to/client.key",
                }
            }
        )
    )
    files = (endpoint.ca_bundle, endpoint.client_cert, endpoint.client_key)
    assert endpoint.verify_tls is True
    assert files == (Path("/path/to/ca-bundle.pem"), Path("/path/to/client.pem"), Path("/path/to/client.key"))


# --- the ways to write endpoints


SECTIONS = """
[webhooks]
secret = of all
[webhooks.a]
url = https://a.example/
timeout = 5s
[webhooks.b]
url = https://b.example/
header.X-Team = blue
"""
DOTTED = """
[webhooks]
secret = of all
a.url = https://a.example/
a.timeout = 5s
b.url = https://b.example/
b.header.X-Team = blue
"""


def test_dotted_keys_are_the_same_as_sections(tmp_path: Path) -> None:
    assert settings(tmp_path, DOTTED).endpoints == settings(tmp_path, SECTIONS).endpoints


def test_dotted_keys_and_a_section_of_the_same_endpoint_add_up(tmp_path: Path) -> None:
    assert only(settings(tmp_path, TEAM + "[webhooks]\nteam.timeout = 7s\n")).timeout == 7.0


def test_an_endpoint_overrides_what_it_inherits(tmp_path: Path) -> None:
    found = settings(tmp_path, SECTIONS + "secret = own\n")
    assert [endpoint.secrets[0].reveal() for endpoint in found.endpoints] == ["of all", "own"]


def test_headers_and_metadata_of_all_and_of_one_add_up(tmp_path: Path) -> None:
    text = (
        "[webhooks]\nheader.X-All = 1\nmetadata.workspace_id = ws\n"
        + TEAM
        + "header.X-Own = 2\nmetadata.user = admin\n"
    )
    endpoint = only(settings(tmp_path, text))
    assert {name: value.reveal() for name, value in endpoint.headers.items()} == {"X-All": "1", "X-Own": "2"}
    assert endpoint.metadata == {"workspace_id": "ws", "user": "admin"}


def test_default_url_and_keys_for_default_are_one_endpoint(tmp_path: Path) -> None:
    endpoint = only(settings(tmp_path, "[webhooks]\ndefault_url = https://x.example/\n[webhooks.default]\ntimeout = 3"))
    assert (endpoint.name, endpoint.timeout) == ("default", 3.0)


def test_default_url_with_another_url_of_default_is_a_contradiction(tmp_path: Path) -> None:
    text = "[webhooks]\ndefault_url = https://x.example/\n[webhooks.default]\nurl = https://y.example/\n"
    assert "given twice" in mistake(settings(tmp_path, text)).problem


def test_a_json_file_is_the_mapping_form(tmp_path: Path) -> None:
    found = settings(tmp_path, json.dumps({"webhooks": GUIDE_MAPPING}), name="webhooks.json")
    assert found.endpoints == load_mapping(GUIDE_MAPPING).endpoints


def test_a_mapping_writes_headers_dotted_or_nested() -> None:
    nested = load_mapping({"team": {"url": "https://x.example/", "header": {"X-Team": "blue"}}})
    dotted = load_mapping({"team": {"url": "https://x.example/", "header.X-Team": "blue"}})
    assert only(nested) == only(dotted)


def test_the_keys_for_all_are_next_to_the_endpoints_in_a_mapping() -> None:
    found = load_mapping({"enabled": True, "drain_timeout": 5, "secret": "sec", "default_url": "https://x.example/"})
    assert (found.enabled, found.drain_timeout, only(found).secrets[0].reveal()) == (True, 5.0, "sec")


@pytest.mark.parametrize(
    "value", [None, b"bytes", [["x"], None], object()], ids=["None", "bytes", "None in list", "object"]
)
def test_a_value_that_no_ini_file_could_hold_is_a_mistake(value: object) -> None:
    found = load_mapping({"team": {"url": "https://x.example/", "secret": value}})
    assert (names(found), mistake(found).key) == ([], "secret")


def test_a_switched_off_endpoint_gets_nothing_and_is_not_a_mistake(tmp_path: Path) -> None:
    found = settings(tmp_path, TEAM + "enabled = false\n")
    assert (names(found), found.mistakes) == ([], ())


@pytest.mark.parametrize("text", ["", "# nothing\n", "[webhooks]\n"])
def test_a_file_that_sets_nothing_is_not_a_mistake_but_worth_a_warning(tmp_path: Path, text: str) -> None:
    found = settings(tmp_path, text)
    assert (found.endpoints, found.mistakes, found.enabled) == ((), (), None)
    assert "sets nothing" in found.warnings[0]


def test_a_file_that_cannot_be_looked_at_is_a_mistake_and_not_none(tmp_path: Path) -> None:
    found = load(find_file("", tmp_path / ("x" * 300)))
    assert "cannot be read: File name too long" in str(mistake(found))


def test_a_file_that_is_taken_away_while_it_is_read_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_and_lose(path: Path, draft: Draft) -> None:
        read_settings(path, draft)
        path.unlink()

    monkeypatch.setattr("sfwebhooks.config.settings.read_settings", read_and_lose)
    assert names(settings(tmp_path, "[webhooks]\ndefault_url = http://127.0.0.1/\nsecret = s3cret\n")) == ["default"]


def test_a_missing_file_is_neither_an_endpoint_nor_a_mistake() -> None:
    assert load(None) == Settings()


# --- how INI is read


@pytest.mark.parametrize("secret", ["100%", "%d-day", "$Home2", "a;b", "a #b", 'qu"o"te', "a=b:c", "grüß-密码"])
def test_a_secret_is_taken_as_it_is_written(tmp_path: Path, secret: str) -> None:
    assert only(settings(tmp_path, TEAM + f"secret = {secret}\n")).secrets[0].reveal() == secret


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf" + (TEAM + "secret = own\n").replace("\n", "\r\n").encode()
    assert only(settings(tmp_path, text)).secrets[0].reveal() == "own"


def test_names_are_case_sensitive(tmp_path: Path) -> None:
    text = TEAM + "[webhooks.Team]\nurl = https://other.example/\n"
    assert names(settings(tmp_path, text)) == ["team", "Team"]


def test_a_section_that_is_indented_is_found(tmp_path: Path) -> None:
    text = "[webhooks]\nenabled = true\n\n  [webhooks.team]\n  url = https://x.example/\n  timeout = 3\n"
    assert only(settings(tmp_path, text)).timeout == 3.0


def test_a_list_may_go_over_several_lines(tmp_path: Path) -> None:
    text = TEAM + "events =\n  scan_completed\n  [hm]*_risk_event\n  !finding.critical\n"
    assert only(settings(tmp_path, text)).events == ("scan_completed", "[hm]*_risk_event", "!finding.critical")


SPIDERFOOT_CONF = """
[globals]
a line without a sign
_debug = 1
_debug = 2
    [not a section]
[globals]
webhooks = no
[modules
[sfp_dns]
=
{team}
[sfp_ssl]
secret = foreign
broken
"""


def test_what_is_wrong_in_foreign_sections_is_not_our_matter(tmp_path: Path) -> None:
    found = settings(tmp_path, SPIDERFOOT_CONF.format(team=TEAM + "secret = own"), name="spiderfoot.conf")
    assert only(found).secrets[0].reveal() == "own"


def test_nothing_is_inherited_from_a_foreign_section(tmp_path: Path) -> None:
    found = settings(tmp_path, "[sfp_x]\nsecret = foreign\n" + TEAM, name="spiderfoot.conf")
    assert only(found).secrets == ()


@pytest.mark.parametrize("given", ["/etc/team.pem", "keys/team.pem", "~/team.pem"])
def test_file_names_start_at_the_configuration_file_or_at_home(
    tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    expected = {"/etc/team.pem": Path("/etc/team.pem"), "keys/team.pem": tmp_path / "keys/team.pem"}
    endpoint = only(settings(tmp_path, TEAM + f"ca_bundle = {given}\n"))
    assert endpoint.ca_bundle == expected.get(given, Path("/home/somebody/team.pem"))


# --- env: and file:


def test_a_secret_can_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_SECRET", "from-the-environment")
    assert only(settings(tmp_path, TEAM + "secret = env:TEAM_SECRET\n")).secrets[0].reveal() == "from-the-environment"


def test_a_url_can_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_URL", "https://hooks.example/T0")
    endpoint = only(settings(tmp_path, "[webhooks]\ndefault_url = env:TEAM_URL\n"))
    assert endpoint.url.reveal() == "https://hooks.example/T0"


@pytest.mark.parametrize("content", [b"from-a-file\n", b"from-a-file\r\n", b"from-a-file", b"\xef\xbb\xbffrom-a-file"])
def test_a_secret_can_come_from_a_file_next_to_the_configuration(tmp_path: Path, content: bytes) -> None:
    written(tmp_path, content, name="team.secret")
    assert only(settings(tmp_path, TEAM + "secret = file:team.secret\n")).secrets[0].reveal() == "from-a-file"


def test_a_file_with_two_secrets_is_a_rotation(tmp_path: Path) -> None:
    written(tmp_path, f"{WHSEC}\nold\n", name="team.secret")
    endpoint = only(settings(tmp_path, TEAM + "secret = file:team.secret\n"))
    assert [secret.reveal() for secret in endpoint.secrets] == [WHSEC, "old"]


@pytest.mark.parametrize("key", ["secret", "api_key", "client_key_password", "header.Authorization", "url"])
@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("env:NOT_SET_ANYWHERE", "the environment variable NOT_SET_ANYWHERE is not set"),
        ("file:missing.txt", "missing.txt cannot be read: No such file or directory"),
        ("file:.", "cannot be read: Is a directory"),
        ("file:binary", "binary cannot be read: it is saved as UTF-16"),
        ("file:~no-such-user/secret", "home directory"),
    ],
)
def test_a_source_that_gives_no_secret_is_a_mistake(tmp_path: Path, key: str, source: str, problem: str) -> None:
    written(tmp_path, b"\xff\xfe\x00", name="binary")
    own = "" if key == "url" else "url = https://x.example/\n"
    found = settings(tmp_path, f"[webhooks.team]\n{own}{key} = {source}\n")
    assert names(found) == []
    assert problem in mistake(found).problem


def test_an_environment_that_utf_8_cannot_write_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATIN", "caf\udce9")
    assert mistake(settings(tmp_path, TEAM + "secret = env:LATIN\n")).problem == "expected valid UTF-8 text"


# --- mistakes


def test_a_mistake_says_file_section_key_value_and_what_is_accepted(tmp_path: Path) -> None:
    found = settings(tmp_path, TEAM + "timeout = soon\n")
    assert str(mistake(found)) == (
        f'{tmp_path}/webhooks.ini: [webhooks.team] timeout = "soon": expected a duration above zero such as 15s, 5m, '
        "1h or 7d"
    )


WRONG = """
[webhooks]
max_retrys = 3
enabled = perhaps
[webhooks.one]
url = ftp://one.example/
events = scan_complete
format = slak
[webhooks.two]
secret = whsec_short
verify_tls = nope
[webhooks.th ree]
url = https://three.example/
client_key = key.pem
"""


def test_all_mistakes_are_found_at_once(tmp_path: Path) -> None:
    found = settings(tmp_path, WRONG)
    own = {(one.section, one.key) for one in found.mistakes if not one.problem.startswith("held")}
    assert own == {
        ("webhooks", "max_retrys"),
        ("webhooks", "enabled"),
        ("webhooks.one", "url"),
        ("webhooks.one", "events"),
        ("webhooks.one", "format"),
        ("webhooks.two", ""),  # no url
        ("webhooks.two", "secret"),
        ("webhooks.two", "verify_tls"),
        ("webhooks.th ree", ""),  # its name, and a key without a certificate
    }


def test_a_wrong_endpoint_is_out_and_the_right_ones_work(tmp_path: Path) -> None:
    assert names(settings(tmp_path, TEAM + "[webhooks.wrong]\nurl = nowhere\n")) == ["team"]


@in_one(
    ("key", "value"),
    [
        ("url", ""),
        ("url", "https://"),
        ("url", "https:///path"),
        ("url", "example.com/hook"),
        ("url", "ftp://x.example/"),
        ("url", "file:///etc/passwd"),
        ("url", "https://x.example:0/"),
        ("url", "https://x.example:65536/"),
        ("url", "https://x.example:port/"),
        ("url", "https://[::1/"),
        ("url", "https://a..b/"),
        ("url", f"https://{'a' * 64}.example/"),
        ("url", "https://münchen.example/"),
        ("url", "https://x.example/a b"),
        ("url", "https://user@x.example/"),
        ("url", "https://user:word@x.example/"),
        ("url", "https://x.example/#part"),
        ("enabled", "maybe"),
        ("events", ""),
        ("events", "scan_finished"),
        ("events", "scan_*, !nothing"),
        ("events", "!!scan_*"),
        ("events", "!"),
        ("events", "!*"),
        ("events", "!all"),
        ("events", "all, !all"),
        ("events", "scan_completed, scan_failed, !scan_*"),
        ("events", "high_risk_event, !finding.critical, !finding.high"),
        ("format", "xml"),
        ("format", "Generic"),
        ("secret", ""),
        ("secret", "whsec_"),
        ("secret", "whsec_c2hvcnQ="),
        ("secret", WHSEC + "!"),
        ("secret", "whsec_" + "A" * 87 + "="),
        ("secret", "good\n  whsec_bad"),
        ("secret", "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("api_key", ""),
        ("api_key", "ключ"),
        ("api_key", "one\n two"),
        ("verify_tls", "2"),
        ("ca_bundle", ""),
        ("ca_bundle", "~no-such-user/ca.pem"),
        ("ca_bundle", "nul\0byte"),
        ("timeout", "0"),
        ("timeout", "-1"),
        ("timeout", "1w"),
        ("timeout", "1e3"),
        ("timeout", "9" * 400),
        ("timeout", "366d"),
        ("concurrency", "0"),
        ("concurrency", "65"),
        ("concurrency", "1.5"),
        ("max_retries", "-1"),
        ("max_retries", "101"),
        ("retry_delay", "nan"),
        ("rate", "0/s"),
        ("rate", "5"),
        ("rate", "5/d"),
        ("rate", "-1/s"),
        ("rate", "nan/s"),
        ("retry_schedule", ""),
        ("retry_schedule", "5s, soon"),
        ("retry_schedule", ", ".join(["1s"] * 101)),
        ("retry_after_max", "0"),
        ("retry_after_max", "3h"),
        ("max_age", "0"),
        ("only_new", "new"),
        ("baseline", "quiet"),
        ("batch_size", "0"),
        ("batch_size", "1001"),
        ("batch_wait", "2h"),
        ("digest", "hourly"),
        ("digest", "daily"),
        ("digest", "daily 24:00"),
        ("digest", "daily 8:5"),
        ("digest", "scan 08:00"),
        ("digest", "0s"),
        ("fallback", "nobody"),
        ("fallback", "team"),
        ("header.", "x"),
        ("header.X Y", "x"),
        ("header.X-Y", ""),
        ("header.X-Y", "a\n b"),
        ("header.Content-Length", "5"),
        ("header.content-type", "text/plain"),
        ("header.HOST", "other.example"),
        ("header.X-SpiderFoot-Signature", "sha256=0"),
        ("header.X-Security-Signature", "sha256=0"),
        ("header.Webhook-Id", "1"),
        ("headers", "X-Security-Signature"),
        ("headers", "Security-Audit"),
        ("headers", ""),
        ("metadata.", "x"),
        ("", "x"),
    ],
)
def test_a_value_that_is_not_accepted_leaves_the_endpoint_out(tmp_path: Path, key: str, value: str) -> None:
    own = "" if key == "url" else "url = https://x.example/\n"
    found = settings(tmp_path, f"[webhooks.team]\n{own}{key} = {value}\n")
    assert names(found) == []
    assert found.mistakes


@in_one(
    ("key", "value", "field", "expected"),
    [
        ("enabled", "YES", "name", "team"),
        ("events", "all", "events", ("all",)),
        ("events", "scan.completed", "events", ("scan.completed",)),
        ("events", "finding.*, !finding.critical", "events", ("finding.*", "!finding.critical")),
        ("events", "high_risk_event, !finding.high", "events", ("high_risk_event", "!finding.high")),
        ("events", "!scan_*", "events", ("!scan_*",)),
        ("events", "vulnerability_found, !scan_*", "events", ("vulnerability_found", "!scan_*")),
        ("description", "our SOC: on call", "description", "our SOC: on call"),
        ("verify_tls", "off", "verify_tls", False),
        ("timeout", "20", "timeout", 20.0),
        ("timeout", "1.5m", "timeout", 90.0),
        ("timeout", "2 h", "timeout", 7200.0),
        ("timeout", "365d", "timeout", 31536000.0),
        ("concurrency", "1", "concurrency", 1),
        ("concurrency", "64", "concurrency", 64),
        ("max_retries", "0", "retry_schedule", ()),
        ("max_retries", "2", "retry_schedule", (5, 60)),
        ("max_retries", "8", "retry_schedule", (5, 60, 300, 900, 3600, 21600, 21600, 21600)),
        ("retry_delay", "1m", "retry_schedule", (60, 120, 240, 480, 960, 1920)),
        ("rate", "1/s", "interval", 1.0),
        ("rate", "5/m", "interval", 12.0),
        ("rate", " 100 / h ", "interval", 36.0),
        ("rate", "0.5/s", "interval", 2.0),
        ("retry_schedule", "5s, 1m\n 2h", "retry_schedule", (5, 60, 7200)),
        ("retry_after_max", "2h", "retry_after_max", 7200.0),
        ("max_age", "1d", "max_age", 86400.0),
        ("only_new", "true", "only_new", True),
        ("baseline", "send", "baseline", "send"),
        ("batch_size", "100", "batch_size", 100),
        ("batch_wait", "10s", "batch_wait", 10.0),
        ("format", "security-audit", "format", "security-audit"),
        ("retry_delay", "12h", "retry_schedule", (43200, 86400, 86400, 86400, 86400, 86400)),
    ],
)
def test_a_value_is_read(tmp_path: Path, key: str, value: str, field: str, expected: object) -> None:
    assert getattr(only(settings(tmp_path, TEAM + f"{key} = {value}\n")), field) == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/hook?x=%41",
        "HTTPS://X.example",
        "https://[2001:db8::1]:8443/",
        "https://my_host.internal./",
        "https://xn--mnchen-3ya.example/",
    ],
)
def test_a_usable_url_is_kept_byte_for_byte(tmp_path: Path, url: str) -> None:
    assert only(settings(tmp_path, f"[webhooks]\ndefault_url = {url}\n")).url.reveal() == url


@pytest.mark.parametrize("name", RESERVED_METADATA)
def test_metadata_of_ours_cannot_be_replaced(tmp_path: Path, name: str) -> None:
    found = settings(tmp_path, f"{TEAM}metadata.{name} = 7\n")
    assert (names(found), mistake(found).key) == ([], f"metadata.{name}")
    assert mistake(found).problem == (
        "sfwebhooks itself sets schema, event_id, delivery_id, endpoint, scan_name, series, sequence, severity, time,"
        " backfilled: use another name"
    )


def test_the_metadata_that_cannot_be_replaced_are_those_of_a_message() -> None:
    assert {"series", *message(a_delivery(backfilled=True), an_endpoint())["metadata"]} == set(RESERVED_METADATA)


@pytest.mark.parametrize("name", ["0", "7", "007", "4294967295", "1" * 20])
def test_metadata_whose_name_is_a_number_is_refused_since_javascript_moves_it(tmp_path: Path, name: str) -> None:
    found = mistake(settings(tmp_path, f"{TEAM}metadata.{name} = x\n"))
    assert found.key == f"metadata.{name}"
    assert found.problem.startswith("JSON.stringify would reorder a name that is a number")


@pytest.mark.parametrize("name", ["v1", "1st", "-1", "1.5", "\u0661"])
def test_metadata_whose_name_has_digits_in_it_is_fine(tmp_path: Path, name: str) -> None:
    assert only(settings(tmp_path, f"{TEAM}metadata.{name} = x\n")).metadata == {name: "x"}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "it does not begin with http:// or https://"),
        ("x.example/hidden", "it does not begin with http:// or https://"),
        ("ftp://x.example/hidden", "it does not begin with http:// or https://"),
        ("https:/x.example/hidden", "it does not begin with http:// or https://"),
        ("https://x.example/hid den", "it contains a space or a line break"),
        ("https://x.example/hid\n den", "it contains a space or a line break"),
        ("https://x.example/hiddén", "it contains a character outside printable ASCII"),
        ("https://x.example:65536/hidden", "its port is not a number from 1 to 65535"),
        ("https://x.example:0/hidden", "its port is not a number from 1 to 65535"),
        ("https://x.example:hidden/", "its port is not a number from 1 to 65535"),
        ("https:///hidden", "it has no host"),
        ("https://:8443/hidden", "it has no host"),
        ("https://hidden..example/", "its host name is invalid"),
        ("https://[::1/hidden", "its host name is invalid"),
    ],
)
def test_what_is_wrong_with_a_url_is_said_and_nothing_of_it_shown(tmp_path: Path, url: str, why: str) -> None:
    one = mistake(settings(tmp_path, f"[webhooks.team]\nurl = {url}\n"))
    words = "; expected an http:// or https:// URL with a host, in ASCII (punycode, %-encoding)"
    assert (one.value, one.problem) == ("***" if url else "", why + words)


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("[webhooks.team]\nurl = https://x.example/\nsecrets = x", "secret"),
        ("[webhooks.team]\nurl = https://x.example/\nTimeOut = 3", "timeout"),
        ("[webhooks.team]\nurl = https://x.example/\nclientcert = x", "client_cert"),
        ("[webhooks.team]\nURL = https://x.example/", "url"),
        ("[webhooks.team]\nurl = https://x.example/\nevents = scan_complete", "scan_completed"),
        ("[webhooks.team]\nurl = https://x.example/\nformat = genric", "generic"),
        ("[webhooks.team]\nurl = https://x.example/\nformat = security_audit", "security-audit"),
        ("[webhooks.team]\nurl = https://x.example/\nheaders.X-Team = blue", "header.NAME = VALUE"),
        ("[webhooks.team]\nurl = https://x.example/\nmetdata.user = admin", "metadata.NAME = VALUE"),
        ("[webhooks.team]\nurl = https://x.example/\nclient.cert = x", "client_cert"),
        ("[webhooks]\nenabeld = true", "enabled"),
        ("[webhooks]\nhedaer.X-Team = blue", "header"),
        ("[webhooks]\nteam.url = https://x.example/\nteam.secert = x", "secret"),
        ("[webhooks]\nsecurity_team.url = https://x.example/\nsecurty_team.secret = x", "security_team"),
    ],
)
def test_a_typo_is_answered_with_the_nearest_word(tmp_path: Path, typo: str, meant: str) -> None:
    assert any(f'Did you mean "{meant}"?' in one.problem for one in settings(tmp_path, typo).mistakes)


@pytest.mark.parametrize("line", ["evnts = scan_*", "event = scan_*", "events = scan_*, high_risk_evnt"])
def test_where_its_events_are_not_known_a_warning_says_how_to_catch_up(tmp_path: Path, line: str) -> None:
    warnings = settings(tmp_path, f"{TEAM}{line}\n").warnings
    assert [text for text in warnings if "backfill" in text] == [
        "[webhooks.team] events: not known, so it accepts nothing: once this is corrected, sfwebhooks backfill sends it"
        " the findings that it missed"
    ]
    assert [text for text in settings(tmp_path, f"{TEAM}timeot = 1s\n").warnings if "backfill" in text] == []


def test_all_words_that_are_not_events_are_named_at_once(tmp_path: Path) -> None:
    found = settings(tmp_path, f"{TEAM}events = scan_complete, all, high_risk, !finding.severe, silence\n")
    assert mistake(found).problem == (
        '"scan_complete" is not an event. Did you mean "scan_completed"? '
        '"high_risk" is not an event. Did you mean "high_risk_event"? '
        '"!finding.severe" is not an event. Did you mean "finding.malware"? '
        '"silence" is not an event. Expected event names, * patterns, all, !name'
    )


@pytest.mark.parametrize(
    ("key", "words", "wrong"),
    [
        ("events", ["all", "nope"], "nope"),
        ("events", ["nope", "all", "neither", "nope"], "nope, neither"),
        ("events", ["all", "apiKey-7c1d55e0b2"], "***"),
        ("retry_schedule", ["5s", "soon"], "soon"),
    ],
)
def test_of_a_list_the_wrong_words_are_shown(key: str, words: list[str], wrong: str) -> None:
    found = load_mapping({"team": {"url": "https://x.example/", key: words}})
    assert mistake(found).value == wrong


def test_a_custom_header_in_the_wrong_key_is_answered_with_the_right_one(tmp_path: Path) -> None:
    found = settings(tmp_path, f"{TEAM}headers = X-Team: blue\n")
    assert "header.NAME = VALUE" in mistake(found).problem


@pytest.mark.parametrize(
    "text",
    [
        "client_key_password = x\nclient_key = key.pem",
        "client_key = key.pem",
    ],
)
def test_a_key_without_a_certificate_is_a_mistake(tmp_path: Path, text: str) -> None:
    assert names(settings(tmp_path, TEAM + text)) == []


def test_a_client_certificate_is_never_meant_for_plain_http(tmp_path: Path) -> None:
    found = settings(tmp_path, "[webhooks]\nclient_cert = c.pem\ndefault_url = http://x.example/\n")
    assert "requires an https:// url" in mistake(found).problem


@pytest.mark.parametrize("host", ["169.254.169.254", "0xa9fea9fe", "[fe80::1]", "[::ffff:169.254.169.254]:8080"])
def test_an_address_that_is_never_sent_to_is_a_mistake(tmp_path: Path, host: str) -> None:
    found = settings(tmp_path, f"[webhooks]\ndefault_url = http://{host}/{HIDDEN}\n")
    assert (names(found), "where sfwebhooks never sends" in mistake(found).problem) == ([], True)
    assert HIDDEN not in str(mistake(found))


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "127.1", "10.1.2.3", "[::1]", "[fd12::1]", "192.168.0.1"])
@pytest.mark.parametrize(("line", "used"), [("", ["team"]), ("allow_private = false", [])])
def test_a_private_address_is_a_mistake_only_without_allow_private(
    tmp_path: Path, host: str, line: str, used: list[str]
) -> None:
    found = settings(tmp_path, f"[webhooks]\n{line}\n[webhooks.team]\nurl = http://{host}/\n")
    assert names(found) == used
    assert ["allow_private = true" in one.problem for one in found.mistakes] == [True] * (not used)


@pytest.mark.parametrize("host", ["localhost", "metadata.google.internal", "8.8.8.8", "[2a00::1]"])
def test_a_name_or_a_public_address_is_not_a_mistake_without_allow_private(tmp_path: Path, host: str) -> None:
    only(settings(tmp_path, f"[webhooks.team]\nurl = http://{host}/\nallow_private = false\n"))


@pytest.mark.parametrize("name", ["a b", "a.b", "ä", "x" * 65, "header", "metadata", "team]", "-team", "-", "é1", "٣"])
def test_a_name_that_cannot_be_an_endpoints_is_a_mistake(tmp_path: Path, name: str) -> None:
    found = settings(tmp_path, json.dumps({name: {"url": "https://x.example/"}}), name="webhooks.json")
    assert (names(found), len(found.mistakes)) == ([], 1)


@pytest.mark.parametrize("name", ["a", "A-1_", "_team", "1", "x" * 64])
def test_a_name_by_the_rule_is_taken_also_by_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settings(tmp_path, json.dumps({name: {"url": "https://x.example/"}}), name="webhooks.json")
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))
    assert main(["pause", name, "--config", str(tmp_path / "webhooks.json")]) == 0


def test_the_rule_for_names_is_said_as_it_is(tmp_path: Path) -> None:
    problem = mistake(settings(tmp_path, '{"ä": {"url": "https://x.example/"}}', name="webhooks.json")).problem
    assert "up to 64 of A-Z, a-z, 0-9, _ and -, does not begin with -" in problem
    problem = mistake(settings(tmp_path, TEAM + "header.X-Zoë = 1\n")).problem
    assert "may contain only A-Z, a-z, 0-9 and -_.!#$%" in problem


def test_an_endpoint_that_is_off_is_known(tmp_path: Path) -> None:
    found = settings(tmp_path, TEAM + "enabled = false\n")
    assert ([one.name for one in found.off], found.unused) == (["team"], frozenset({"team"}))


@pytest.mark.parametrize("empty", ["[webhooks.team]\n", "[webhooks]\nteam.timeout = 3\n"])
def test_an_endpoint_without_a_url_is_a_mistake(tmp_path: Path, empty: str) -> None:
    assert "no url" in mistake(settings(tmp_path, empty)).problem


def test_an_empty_endpoint_in_a_mapping_is_a_mistake() -> None:
    assert "no url" in mistake(load_mapping({"team": {}})).problem


# --- a mistake in what is shared: going on without what was meant would be worse than not sending


@pytest.mark.parametrize(
    "shared",
    [
        "secret = whsec_wrong",
        "secert = x",
        "client_cert = ~no-such-user/c.pem",
        "header.Host = x",
        "metadata = x",
        "secret = a\nsecret = b",
        "secret",
        "events = nothing",
        "enabled = fals",
        "enabeld = false",
        "enabled = true\n  secret = x",
    ],
)
def test_a_mistake_in_the_shared_section_disables_the_endpoints_that_inherit(tmp_path: Path, shared: str) -> None:
    assert names(settings(tmp_path, f"[webhooks]\n{shared}\n{TEAM}")) == []


def test_who_sets_the_key_itself_does_not_inherit_the_mistake(tmp_path: Path) -> None:
    text = f"[webhooks]\nsecret = whsec_wrong\n{TEAM}secret = own\n[webhooks.other]\nurl = https://o.example/\n"
    assert names(settings(tmp_path, text)) == ["team"]


def test_a_typo_disables_only_the_endpoints_that_would_inherit_the_meant_key(tmp_path: Path) -> None:
    text = f"[webhooks]\nsecert = x\n{TEAM}secret = own\n[webhooks.other]\nurl = https://o.example/\n"
    assert names(settings(tmp_path, text)) == ["team"]


def test_a_disabled_endpoint_says_why(tmp_path: Path) -> None:
    found = settings(tmp_path, "[webhooks]\nsecret = whsec_wrong\n" + TEAM)
    assert [one.problem for one in found.mistakes if one.section == "webhooks.team"] == [
        "held because secret in [webhooks] is wrong"
    ]


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("0s", 0.0), ("90s", 90.0), ("5m", 300.0)])
def test_progress_comes_as_often_as_it_is_asked_for_or_never(tmp_path: Path, text: str, seconds: float) -> None:
    found = settings(tmp_path, f"[webhooks]\nprogress_interval = {text}\n" + TEAM)
    assert (found.progress_interval, found.mistakes) == (seconds, ())


@pytest.mark.parametrize("text", ["often", "-1", "00x", "9999d"])
def test_a_wrong_progress_interval_says_that_zero_is_never(tmp_path: Path, text: str) -> None:
    found = settings(tmp_path, f"[webhooks]\nprogress_interval = {text}\n" + TEAM)
    assert [mistake.problem for mistake in found.mistakes] == ["expected a duration such as 60s or 5m, or 0 for never"]


def test_a_wrong_drain_timeout_leaves_nobody_out(tmp_path: Path) -> None:
    found = settings(tmp_path, "[webhooks]\ndrain_timeout = long\n" + TEAM)
    assert (names(found), found.drain_timeout, len(found.mistakes)) == (["team"], 10.0, 1)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("90s", 90), ("1h", 3600)])
def test_the_delivery_process_has_so_much_time(tmp_path: Path, text: str, seconds: float) -> None:
    found = settings(tmp_path, f"[webhooks]\ndetach_timeout = {text}\n" + TEAM)
    assert (found.detach_timeout, found.mistakes) == (seconds, ())


def test_equal_settings_have_equal_digests_and_a_secret_makes_a_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for secret in ("one", "one", "other"):
        monkeypatch.setenv("TEAM_SECRET", secret)
        digests.append(settings(tmp_path, TEAM + "secret = env:TEAM_SECRET\n").digest)
    assert digests[0] == digests[1] != digests[2]


# --- lines that are lost would be lost secrets


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("secret", 'line 3 is not "key = value"'),
        ("= value", 'line 3 is not "key = value"'),
        ("url = https://y.example/", "given twice, the second time in line 3"),
        ("url = https://y.example/\nurl = https://z.example/", "given twice, the second time in line 4"),
        ("timeout = 3s\n  secret = x", 'the line "secret = ..." below it is indented and so is part of its value'),
        (
            "timeout = 3s\n  enabled = false",
            'the line "enabled = ..." below it is indented and so is part of its value',
        ),
        ("description = x\n  events: all", 'the line "events = ..." below it is indented and so is part of its value'),
        ("[webhooks.team]\nsecret = x", "given twice, the second time in line 3"),
        ("[webhooks]\nteam.url = https://y.example/", "given twice, see also url in [webhooks.team]"),
    ],
)
def test_a_line_that_cannot_be_kept_leaves_its_endpoint_out(tmp_path: Path, line: str, problem: str) -> None:
    found = settings(tmp_path, TEAM + line + "\n[webhooks.right]\nurl = https://right.example/\n")
    assert names(found) == ["right"]
    assert problem in [one.problem for one in found.mistakes]


def test_a_secret_that_goes_on_in_the_next_line_may_hold_any_sign(tmp_path: Path) -> None:
    endpoint = only(settings(tmp_path, TEAM + "secret = new\n  old=secret: x\n"))
    assert [secret.reveal() for secret in endpoint.secrets] == ["new", "old=secret: x"]


@pytest.mark.parametrize(
    ("key", "text"),
    [("url", "https://x.example/ # it"), ("timeout", "10 ; seconds"), ("events", "all #"), ("batch_size", "5 # 6")],
)
def test_a_comment_behind_a_wrong_value_is_taken_for_one(tmp_path: Path, key: str, text: str) -> None:
    url = "" if key == "url" else "url = https://x.example/"
    found = settings(tmp_path, f"[webhooks.team]\n{url}\n{key} = {text}\n")
    words = f"; the text after {'#' if '#' in text else ';'} looks like a comment; put it on its own line"
    assert mistake(found).problem.endswith(words)


def test_a_comment_behind_a_secret_is_warned_of(tmp_path: Path) -> None:
    found = settings(tmp_path, TEAM + "secret = hush-hush # new since May\ndescription = the best # of all\n")
    words = "the text after # looks like a comment; put it on its own line; it is now part of the value"
    assert (found.mistakes, found.warnings) == ((), (f"[webhooks.team] secret: {words}",))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("url", '"https://x.example/"'),
        ("events", '"all"'),
        ("events", 'all, "scan_completed"'),
        ("timeout", "'15s'"),
        ("format", '"slack"'),
    ],
)
def test_quotes_around_a_wrong_value_are_said_first(tmp_path: Path, key: str, text: str) -> None:
    url = "" if key == "url" else "url = https://x.example/"
    found = settings(tmp_path, f"[webhooks.team]\n{url}\n{key} = {text}\n")
    assert mistake(found).problem.startswith("remove the quotes around the value; ")


@pytest.mark.parametrize("key", ["secret", "api_key", "header.X-Team", "metadata.user", "ca_bundle"])
@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotes_around_a_right_value_are_warned_of(tmp_path: Path, key: str, quote: str) -> None:
    found = settings(tmp_path, f"{TEAM}{key} = {quote}hush{quote}\n")
    words = "remove the quotes around the value; they are now part of it"
    assert (found.mistakes, f"[webhooks.team] {key}: {words}" in found.warnings) == ((), True)


def test_quotes_around_the_second_secret_are_warned_of(tmp_path: Path) -> None:
    found = settings(tmp_path, f'{TEAM}secret = new\n  "old"\n')
    assert "remove the quotes around the value" in "".join(found.warnings)


@pytest.mark.parametrize("text", ['qu"o"te', '"begun', "ended'", '"a" and "b"', '"', '""', "\"mixed'"])
def test_quotes_that_are_not_around_a_secret_are_not_warned_of(tmp_path: Path, text: str) -> None:
    assert "quotes" not in "".join(settings(tmp_path, f"{TEAM}secret = {text}\n").warnings)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("webhook.x", "[webhooks.x]"),
        ("Webhooks", "[webhooks]"),
        ("web-hooks: x", "[webhooks.x]"),
        ("WEB_HOOK x", "[webhooks.x]"),
        ("webhook.https://x.example/hush", "[webhooks.NAME]"),
    ],
)
def test_what_a_misspelt_section_should_be_is_said(tmp_path: Path, written: str, meant: str) -> None:
    key = "default_url" if meant == "[webhooks]" else "url"
    found = settings(tmp_path, f"[{written}]\n{key} = https://x.example/\n")
    assert found.mistakes[0].problem == f'the section in line 1 is not known. Did you mean "{meant}"?'


@pytest.mark.parametrize("name", ["Team A", "whsec_abcdefghijkl"])
def test_a_section_whose_name_is_not_shown_is_found_by_its_line(tmp_path: Path, name: str) -> None:
    found = settings(tmp_path, f"{TEAM}[webhooks.{name}]\nurl = https://x.example/\ntimeout = soon\n")
    assert {one.section for one in found.mistakes} == {"***, line 3"}


def test_an_endpoint_of_json_whose_name_is_not_shown_is_found_by_its_place(tmp_path: Path) -> None:
    text = json.dumps({"enabled": True, "Team A": {"url": "https://x.example/"}})
    assert mistake(settings(tmp_path, text, name="webhooks.json")).section == "***, key 2"


@pytest.mark.parametrize("line", ["url = https://x.example/", "secret = hush", "nonsense = 1", "no key"])
def test_a_section_that_lacks_the_endpoints_name_says_so(tmp_path: Path, line: str) -> None:
    found = settings(tmp_path, f"\n[webhooks.]\n{line}\n")
    assert found.mistakes[0].problem == (
        "the endpoint's name is missing in line 2; expected [webhooks.NAME], or [webhooks] for what all endpoints"
        " inherit"
    )


def test_an_endpoint_of_json_that_lacks_a_name_says_so() -> None:
    found = load_mapping({"enabled": True, "": {"url": "https://x.example/"}})
    assert mistake(found).problem == "the endpoint's name is missing: key 2 is empty"


def test_a_section_without_a_name_may_have_been_meant_for_all(tmp_path: Path) -> None:
    assert names(settings(tmp_path, f"[webhooks.]\nsecret = hush\n{TEAM}")) == []


def test_a_line_before_the_first_section_is_named(tmp_path: Path) -> None:
    found = settings(tmp_path, "# ours\n\nsecret = x\n" + TEAM)
    assert mistake(found).problem == "line 3 is before the first [section]; is this an INI file?"


def test_an_indented_name_in_brackets_does_not_take_the_keys_after_it_away(tmp_path: Path) -> None:
    found = settings(tmp_path, "[webhooks]\n  [x]\n  [x]\nsecret = own\n" + TEAM)
    assert [one.problem for one in found.mistakes][:2] == ['line 2 is not "key = value"', 'line 3 is not "key = value"']


def test_a_double_key_in_a_foreign_section_hides_none_of_ours(tmp_path: Path) -> None:
    text = "[globals]\nx = 1\nx = 2\n" + TEAM + "url = https://y.example/\n"
    found = settings(tmp_path, text, name="spiderfoot.conf")
    assert mistake(found).problem == "given twice, the second time in line 6"


@pytest.mark.parametrize(
    "section", ["webhook", "Webhooks", "WEBHOOKS.team", "web_hooks.team", "webhook-team", " webhooks"]
)
def test_a_misspelt_section_is_a_mistake(tmp_path: Path, section: str) -> None:
    found = settings(tmp_path, f"[{section}]\nsecret = {SECRET}\n")
    assert (found.mistakes[0].section, names(found)) == (section, [])


def test_a_name_given_twice_in_json_is_a_mistake(tmp_path: Path) -> None:
    text = '{"team": {"url": "https://x.example/", "secret": "a", "secret": "b"}}'
    found = settings(tmp_path, text, name="webhooks.json")
    assert (names(found), mistake(found).problem) == ([], 'is not JSON: "secret" is given twice')


# --- files that cannot be used at all


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("webhooks.ini", b"\x00\x01\x02\x03"),
        ("webhooks.ini", b"\x7fELF\x02\x01\xff\xfe"),
        ("webhooks.ini", bytes(range(256)) * 64),
        ("webhooks.ini", "[webhooks]\n".encode("utf-16")),
        ("webhooks.ini", b"url = https://x.example/\n"),
        ("webhooks.ini", b'{"team": {}}'),
        ("webhooks.json", b""),
        ("webhooks.json", b"[webhooks]\n"),
        ("webhooks.json", b"[1, 2]"),
        ("webhooks.json", b'{"webhooks": []}'),
        ("webhooks.json", b"[" * 100_000),
        ("webhooks.json", b'{"a": ' + b"9" * 10_000 + b"}"),
    ],
)
def test_a_file_that_is_not_a_configuration_is_one_mistake(tmp_path: Path, name: str, content: bytes) -> None:
    found = settings(tmp_path, content, name=name)
    assert (found.endpoints, mistake(found).file, mistake(found).section) == ((), str(tmp_path / name), "")


def test_a_missing_file_is_a_mistake(tmp_path: Path) -> None:
    assert mistake(load(tmp_path / "missing.ini")).problem == "cannot be read: No such file or directory"


def test_an_unreadable_file_is_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "webhooks.ini"
    path.symlink_to(path)  # root reads every mode, but no loop
    assert mistake(load(path)).problem == "cannot be read: Too many levels of symbolic links"


def test_a_folder_in_place_of_the_file_is_a_mistake(tmp_path: Path) -> None:
    assert mistake(load(tmp_path)).problem == "cannot be read: Is a directory"


# --- where it is looked for


def test_the_modules_option_is_looked_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFWEBHOOKS_CONFIG", "/from/the/environment")
    written(tmp_path, TEAM)
    assert find_file("/from/the/option", tmp_path) == Path("/from/the/option")


def test_the_environment_is_looked_at_before_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFWEBHOOKS_CONFIG", "/from/the/environment")
    written(tmp_path, TEAM)
    assert find_file("", tmp_path) == Path("/from/the/environment")


@pytest.mark.parametrize("section", ["[webhooks]", "[webhooks.team]", "  [webhooks]"])
def test_spiderfoot_conf_comes_before_webhooks_ini_if_it_speaks_of_us(tmp_path: Path, section: str) -> None:
    written(tmp_path, TEAM)
    conf = written(tmp_path, f"[globals]\nx = 1\n{section}\n", name="spiderfoot.conf")
    assert find_file("", tmp_path) == conf


@pytest.mark.parametrize("text", ["[globals]\nwebhooks = 1\n", "# [webhooks]\n", "[webhooksy]\n", ""])
def test_a_spiderfoot_conf_that_does_not_speak_of_us_is_passed_over(tmp_path: Path, text: str) -> None:
    written(tmp_path, text, name="spiderfoot.conf")
    assert find_file("", tmp_path) is None
    own = written(tmp_path, TEAM)
    assert find_file("", tmp_path) == own


def test_a_spiderfoot_conf_that_cannot_be_read_is_said_rather_than_passed_over(tmp_path: Path) -> None:
    (tmp_path / "spiderfoot.conf").mkdir()
    assert load(find_file("", tmp_path)).mistakes


def test_the_modules_option_comes_html_escaped_from_the_host() -> None:
    assert find_file("/srv/o&#x27;brien &amp; sons/webhooks.ini", Path()) == Path("/srv/o'brien & sons/webhooks.ini")


@pytest.mark.parametrize("option", ["~no-such-user/webhooks.ini", "/nowhere/" + "x" * 300, "nul\0byte"])
def test_a_file_name_that_cannot_exist_is_a_mistake_and_no_crash(tmp_path: Path, option: str) -> None:
    assert len(load(find_file(option, tmp_path)).mistakes) == 1


@pytest.mark.parametrize(("value", "off"), [("", False), ("0", False), ("1", True), ("yes", True)])
def test_the_environment_can_switch_everything_off(value: str, off: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFWEBHOOKS_DISABLED", value)
    assert disabled() is off


# --- secrets stay where they are


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
@pytest.mark.parametrize("key", ["secret", "api_key", "header.Authorization", "client_key_password"])
def test_secrets_in_a_file_that_others_can_read_are_worth_a_warning(tmp_path: Path, key: str, mode: int) -> None:
    path = written(tmp_path, f"[webhooks]\n{key} = {SECRET}\n", mode=mode)
    may = "read and changed" if mode & 0o022 else "read"
    assert load(path).warnings == (f"{path} holds secrets and can be {may} by others: chmod 600 {path}",)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        (f"{TEAM}secret = {SECRET}\n", 0o600),
        ("[webhooks]\nsecret = env:X\napi_key = file:x\nevents = all\nmetadata.secret = x\n", 0o644),
    ],
)
def test_a_private_file_or_one_without_secrets_gives_no_warning(tmp_path: Path, text: str, mode: int) -> None:
    assert settings(tmp_path, text, mode=mode).warnings == ()


SECRET_PLACES = [
    *(f"{key} = {HIDDEN}" for key in ("secret", "api_key", "client_key_password", "header.Authorization")),
    f"header.X-Own = {HIDDEN}",
    f"default_url = https://x.example/{HIDDEN}?token={HIDDEN}",
]


@pytest.mark.parametrize("line", SECRET_PLACES)
def test_a_right_secret_is_in_no_repr(tmp_path: Path, line: str) -> None:
    url = "" if "default_url" in line else "default_url = https://x.example/\n"
    found = settings(tmp_path, f"[webhooks]\n{url}{line}\n")
    only(found)
    assert HIDDEN not in f"{found!r} {found} {found.endpoints!r} {found.endpoints[0]}"


@pytest.mark.parametrize(
    "line",
    [
        f"secret = whsec_{HIDDEN}",
        f"api_key = {HIDDEN}é",
        f"header.Authorization = {HIDDEN}é",
        f"header.Content-Length = {HIDDEN}",
        f"client_key_password = {HIDDEN}\nclient_key_password = {HIDDEN}",
        f"default_url = {HIDDEN}",
        f"default_url = https://user:{HIDDEN}@x.example/",
        f"default_url = https://x.example:port/{HIDDEN}",
        f"secert = {HIDDEN}",
        f"team.secrit = {HIDDEN}",
        f"nonsense = {HIDDEN}",
        f"secret {HIDDEN}",
        f"secret {HIDDEN}=",
        f"secret {HIDDEN}.x=",
        f"header.Authorization Bearer {HIDDEN}=",
        f"team.header.Authorization Bearer {HIDDEN}=",
        f"secret = old\n{HIDDEN}=",
        f"secret {HIDDEN}-and-quite-long=",
        f"secret = old\nwhsec_{HIDDEN}=",
        f"secret = old\n{HIDDEN}/+and/long==",
        f"https://x.example/{HIDDEN}",
        f"timeout = 15s\n  secret = {HIDDEN}",
        f"events = all\n  secret = {HIDDEN}",
        f"timeout = 15s\n  {HIDDEN}",
        f"[webhooks]\nsecret = {HIDDEN}",
    ],
)
def test_a_wrong_secret_is_in_no_mistake(tmp_path: Path, line: str, caplog: pytest.LogCaptureFixture) -> None:
    found = settings(tmp_path, f"[webhooks]\n{line}\n")
    assert found.mistakes
    for one in found.mistakes:
        logging.getLogger("test").warning("%s %r", one, one)
    assert HIDDEN not in f"{found!r} {caplog.text}"


def test_the_value_of_a_secret_is_shown_as_stars(tmp_path: Path) -> None:
    assert ' secret = "***": ' in str(mistake(settings(tmp_path, TEAM + "secret = whsec_wrong\n")))


def test_a_shown_value_is_short_and_harmless_to_a_terminal(tmp_path: Path) -> None:
    found = settings(tmp_path, TEAM + "timeout = \x1b[2J\x07 " + "x" * 5000 + "\n")
    assert str(found.mistakes[0]).isprintable()
    assert len(found.mistakes[0].value) == 80


# --- the table of options itself


def test_every_field_of_an_endpoint_can_be_set() -> None:
    options = [*all_options().values(), *OPEN_OPTIONS.values()]
    settable = {option.field or option.name for option in options} | {"name", "retry_schedule"}
    assert set(Endpoint.__dataclass_fields__) - {"mistake", "own"} <= settable


def test_every_option_has_a_meaning() -> None:
    assert all(option.meaning for table in (all_options(), OPEN_OPTIONS, GENERAL_OPTIONS) for option in table.values())


def test_a_file_that_is_not_a_settings_file_is_refused_at_once_whatever_its_lines_say(tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_text("[webhooks.a]\n" + "a\n" * 20_000)
    (mistake,) = load(tmp_path / "a.ini").mistakes
    assert "has 20,002 lines, expected at most 20,000; is this an INI file?" in str(mistake)


def test_of_many_mistakes_the_first_ones_are_named_and_all_of_them_hold_what_they_may_be_about(tmp_path: Path) -> None:
    keys = "".join(f"key{number} = x\n" for number in range(1000))
    (tmp_path / "a.ini").write_text(f"[webhooks]\na.url = https://a.example/\nb.url = https://b.example/\n{keys}")
    found = load(tmp_path / "a.ini")
    assert len(found.mistakes) == MISTAKES_MAX
    assert all(endpoint.mistake for endpoint in found.endpoints)


def test_an_endpoint_whose_inherited_events_are_not_understood_is_not_called_held(tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_text("[webhooks]\nevents = high_risk_evnt\na.url = https://a.example/\n")
    found = load(tmp_path / "a.ini")
    assert found.endpoints == ()
    assert "[webhooks.a]: accepts nothing (once this is corrected, sfwebhooks backfill sends it" in str(
        found.mistakes[-1]
    )


CHAT = "[webhooks.team]\nurl = https://x.example/\nformat = slack\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("auto", Digesting(Rhythm.AUTO)),
        ("off", Digesting()),
        ("scan", Digesting(Rhythm.SCAN)),
        ("30s", Digesting(Rhythm.INTERVAL, seconds=30)),
        ("5m", Digesting(Rhythm.INTERVAL, seconds=300)),
        ("daily 08:00", Digesting(Rhythm.DAILY, minute=480)),
        ("daily  8:05", Digesting(Rhythm.DAILY, minute=485)),
    ],
)
def test_a_chat_says_when_its_findings_go_together(tmp_path: Path, value: str, expected: Digesting) -> None:
    assert only(settings(tmp_path, f"{CHAT}digest = {value}\n")).digest == expected
    assert only(settings(tmp_path, f"[webhooks]\ndigest = {value}\n{CHAT}")).digest == expected


def test_chats_have_digests_unless_they_say_no_and_programs_have_none(tmp_path: Path) -> None:
    assert only(settings(tmp_path, CHAT)).digest == Digesting(Rhythm.AUTO)
    assert only(settings(tmp_path, f"[webhooks]\ndigest = scan\n{TEAM}")).digest == Digesting()
    (mistake,) = settings(tmp_path, f"{TEAM}digest = scan\n").mistakes
    assert "digest requires one of the formats apprise" in str(mistake) and "batch_size" in str(mistake)


def test_a_daily_digest_needs_a_process_at_that_time(tmp_path: Path) -> None:
    assert any("digest = daily" in text for text in settings(tmp_path, f"{CHAT}digest = daily 08:00\n").warnings)
