from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.cli import main
from sfwebhooks.config.settings import Settings, load, load_mapping
from sfwebhooks.endpoints import Secret
from sfwebhooks.errors import TemplateFailedError
from sfwebhooks.events import Delivery
from sfwebhooks.examples import examples_for
from sfwebhooks.formats import template
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.sandbox import STEPS_MAX
from sfwebhooks.jsontext import written as to_json
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import accept
from sfwebhooks.scan.findings import event_of_finding
from sfwebhooks.screening import Screen
from sfwebhooks.severity import Severity
from tests.builders import NOW, URL, a_delivery, a_finding, a_scan, an_endpoint, an_event
from tests.conftest import Clock, Result, sql
from tests.formats.cases import each_event, each_text, hostile_deliveries, mistakes_of, of_entry, settings_of
from tests.formats.conftest import Served, Start
from tests.receivers.collectors import Collector
from tests.receivers.vendor import Answer

ONE_STORE = "a format's messages are the same wherever deliveries are"

DOCS = Path(__file__).parent.parent.parent / "docs" / "formats.md"
#: every variable as JSON
ALL = "{" + ", ".join(f'"{name}": {{{{ {name} | tojson }}}}' for name in template.VARIABLES) + "}"
#: fails with the second event only, which is like no example
SOME_FAIL = '{\n"a": {{ 1 // (data.data != "CVE-2026-0002") | int }}}'


def written(text: str, delivery: Delivery | None = None, kind: str = "text/plain", **endpoint: Any) -> Content:
    own = {"template": Secret(text), "content_type": Secret(kind)}
    return template.render(delivery or a_delivery(), an_endpoint(format="template", own=own, **endpoint))


def text_of(text: str, delivery: Delivery | None = None, **endpoint: Any) -> str:
    return written(text, delivery, **endpoint).body.decode()


def json_of(text: str, delivery: Delivery | None = None, **endpoint: Any) -> Any:
    return json.loads(written(text, delivery, "application/json", **endpoint).body)


# --- what a template has


@each_event
def test_every_event_fills_every_variable(entry: Any) -> None:
    delivery = of_entry(entry)
    message = json_of(ALL, delivery)
    assert message["data"] == entry.example
    assert (message["event_type"], message["severity"]) == (entry.name, delivery.event.severity.label)
    assert message["metadata"]["delivery_id"] == delivery.id
    assert message["target"] == "acme.example"
    assert message["scan"]["id"] == "5C4A0001"


@each_text
def test_hostile_text_arrives_as_it_is(text: str) -> None:
    for delivery in hostile_deliveries(text):
        data = json_of(ALL, delivery, max_body=10**8)["data"]
        assert data == json.loads(to_json(dict(delivery.event.data)))
        text_of("{{ data }} {{ target }} {{ data.data }} {{ data.title }}", delivery)


@pytest.mark.parametrize("text", ["{{ 7*7 }}", "{% for i in range(9) %}x{% endfor %}", "{# x #}", "{{ data }}"])
def test_data_are_never_evaluated(text: str) -> None:
    delivery = a_delivery(event_of_finding(a_finding(data=text), a_scan(name=text, target=text), "x"))
    assert text_of("{{ data.data }}|{{ target }}|{{ scan.name }}", delivery) == f"{text}|{text}|{text}"


def test_a_field_that_an_event_does_not_have_is_empty_or_null_or_a_default() -> None:
    assert text_of("[{{ data.a }}{{ data.a.b['c'].d }}]{{ data.a | default('x') }}") == "[]x"
    assert json_of('{"a": {{ data.a.b | tojson }}, "b": {{ [data.c] | tojson }}}') == {"a": None, "b": [None]}
    assert text_of("{% if data.a %}x{% endif %}{% for one in data.a %}x{% endfor %}") == ""


def test_an_event_outside_a_scan_has_an_empty_one() -> None:
    delivery = a_delivery(an_event(type="system_alert", scan=None, data={"message": "x"}))
    assert text_of("[{{ scan.name }}{{ target }}{{ link }}{{ version }}]", delivery, ui_url="https://sf.x") == "[]"


def test_the_target_of_another_tools_event_is_that_of_its_data() -> None:
    assert text_of("{{ target }}", a_delivery(an_event(scan=None, data={"target": "acme.test"}))) == "acme.test"


def test_what_is_not_a_text_is_written_as_json_is() -> None:
    delivery = a_delivery(an_event(data={"list": ["a", 1], "none": None, "flag": True, "more": {"x": 1.5}}))
    text = "{{ data.list }} {{ data.none }} {{ data.flag }} {{ data.more }} {{ 1 }}"
    assert text_of(text, delivery) == '["a",1]  true {"x":1.5} 1'


def test_json_is_the_same_text_as_in_all_formats() -> None:
    delivery = a_delivery(an_event(data={"data": "<a href='x'>&ü\u2028\ud800"}))
    assert text_of("{{ data | tojson }}", delivery) == '{"data":"<a href=\'x\'>&ü\u2028\ufffd"}'
    assert text_of("{{ data | map('upper') | tojson }}", delivery) == '["DATA"]'


def test_nothing_is_escaped_unless_the_template_asks() -> None:
    delivery = a_delivery(an_event(data={"data": "<b>"}))
    assert text_of("{{ data.data }}{{ data.data | e }}", delivery) == "<b>&lt;b&gt;"


def test_a_key_of_the_data_wins_over_a_method_of_its_name() -> None:
    delivery = a_delivery(an_event(data={"items": 3, "keys": "k"}))
    assert text_of("{{ data.items }}{{ data.keys }}{{ scan.items() | list | length }}", delivery) == "3k5"


def test_a_line_with_only_a_block_is_no_line() -> None:
    assert text_of("a\n  {% if true %}\nb\n  {% endif %}\nc") == "a\nb\nc"


def test_past_events_say_so_and_a_link_leads_to_the_scan() -> None:
    delivery = a_delivery(backfilled=True, replayed=True)
    text = text_of("{{ backfilled }} {{ replayed }} {{ link }}", delivery, ui_url="https://sf.acme.example")
    assert text == "true true https://sf.acme.example/scaninfo?id=5C4A0001"


# --- the settings


def test_all_keys_are_used() -> None:
    (endpoint,) = settings_of(
        "template", template="x {{ severity }}", method="PUT", content_type="text/plain; charset=utf-8", max_body="8kB"
    ).endpoints
    content = template.render(a_delivery(), endpoint)
    assert (content.body, content.method) == (b"x high", "PUT")
    assert content.headers == {"Content-Type": "text/plain; charset=utf-8"}
    assert endpoint.max_body == 8000


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("method", "GET", "expected POST, PUT or PATCH"),
        ("method", "post", "expected POST, PUT or PATCH"),
        ("content_type", "json", "expected a media type such as application/json"),
        ("content_type", "text/plain; charset=latin-1", "the only charset is utf-8"),
        ("template", " ", "expected a template in Jinja2, or file:PATH"),
        ("template", "file:missing.j2", "missing.j2 cannot be read: No such file or directory"),
        ("batch_size", "2", "batch_size requires one of the formats"),
    ],
)
def test_a_wrong_value_is_a_mistake_that_says_what_is_accepted(key: str, text: str, expected: str) -> None:
    (found,) = mistakes_of("template", **{"template": "{}", key: text})
    assert expected in found and key in found


def test_a_template_is_needed_and_its_keys_belong_to_it_alone() -> None:
    assert any("format = template requires template" in found for found in mistakes_of("template"))
    (found,) = mistakes_of("generic", method="PUT")
    assert "method requires format = " in found and "template" in found


def ini(folder: Path, lines: str) -> Settings:
    text = f"[webhooks.team]\nurl = {URL}\nsecret = a5ecretTextOf32LettersAndDigits0\nformat = template\n{lines}\n"
    (folder / "webhooks.ini").touch(0o600)
    (folder / "webhooks.ini").write_text(text)
    return load(folder / "webhooks.ini")


def test_a_template_spans_lines_or_is_a_file_that_is_watched(tmp_path: Path) -> None:
    found = ini(tmp_path, 'template = {\n  "a": {{ severity | tojson }}\n\n  }')
    assert (found.mistakes, found.warnings) == ((), ())
    assert json.loads(template.render(a_delivery(), found.endpoints[0]).body) == {"a": "high"}
    (tmp_path / "body.j2").write_text("\n\n# {{ severity }}\n")
    (tmp_path / "body.j2").chmod(0o644)
    found = ini(tmp_path, "template = file:body.j2\ncontent_type = text/markdown")
    assert (found.mistakes, found.warnings) == ((), ()), "it holds no secret, so others may read it"
    assert template.render(a_delivery(), found.endpoints[0]).body == b"\n\n# high"
    assert tmp_path / "body.j2" in found.files
    before = found.endpoints[0].fingerprint
    (tmp_path / "body.j2").write_text("other")
    assert load(tmp_path / "webhooks.ini").endpoints[0].fingerprint != before


def test_a_template_that_others_can_change_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "body.j2").write_text("{}")
    (tmp_path / "body.j2").chmod(0o666)
    (warning,) = ini(tmp_path, "template = file:body.j2").warnings
    assert "body.j2 can be changed by others" in warning


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{\n\n{{ severty }}", "line 3: there is no variable 'severty', expected backfilled, data, event_type"),
        ("\n{{ severity | nope }}", "line 2: No filter named 'nope'"),
        ("\n\n{{ severity }", "line 3: unexpected '}'"),
        ("{% if data %}\nx", "line 2: Unexpected end of template"),
        ("{% if false %}\n{{ x }}{% endif %}", "line 2: there is no variable 'x'"),
        ("\n{{ 1 / 0 }}", "line 2: ZeroDivisionError: division by zero (with the example of scan_started)"),
        ("\n{{ severity + 1 }}", "line 2: TypeError"),
        ("\n{% include 'x' %}", "line 2: a template cannot include, import or extend another one"),
        ("\n{% import '/etc/passwd' as x %}", "line 2: a template cannot include, import or extend another one"),
        ("\n{{ ''.__class__.__mro__ }}", "line 2: a template may not use '__class__' of a str"),
        ("{{ data.update({}) }}", "line 1: a template may not use 'update' of a dict"),
        ("\n{{ 'x' * 10**9 }}", "line 2: * makes more than 1,000,000 characters or items"),
        ("{{ 9 ** 99 }}", "line 1: the largest exponent is 64"),
        ("\n{% for i in range(10**9) %}{% endfor %}", f"line 2: a range has at most {STEPS_MAX:,} numbers"),
        (
            "{% for i in range(999) %}\n{% for j in range(500) %}{% endfor %}{% endfor %}",
            f"line 2: its loops and macros have more than {STEPS_MAX:,} steps",
        ),
        ("{% for i in range(999) %}{% for j in range(999) if false %}{% endfor %}{% endfor %}", "steps"),
        ("{{ 'x' | center(10 ** 15) }}", "it takes more memory than there is (with the example of scan_started)"),
        ("{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}", "RecursionError"),
        ("{% for i in [1] %}" * 30 + "{% endfor %}" * 30, "it is nested too deeply"),
        ("{{ 'x' * 90000 }}{{ 'x' * 90000 }}", "it writes more than max_body (100,000 bytes), even of shortened data"),
        ("{{ lipsum() }}{{ 1 | random }}", "line 1: No filter named 'random'"),
    ],
)
def test_a_wrong_template_is_a_mistake_with_its_line(text: str, expected: str) -> None:
    found = settings_of("template", template=text, content_type="text/plain", events="all")
    (mistake,) = map(str, found.mistakes)
    assert "[webhooks.team] template: " in mistake and expected in mistake
    assert found.endpoints[0].mistake in mistake, "and the endpoint is held"


def test_what_is_not_json_is_a_mistake_unless_it_is_not_meant_to_be() -> None:
    text = '{"a": {{ event_type }}}'
    (found,) = mistakes_of("template", template=text)
    assert "it does not write JSON (Expecting value: line 1 column 7 (char 6) of the body); write values as" in found
    assert mistakes_of("template", template=text, content_type="application/vnd.x+json")
    assert mistakes_of("template", template=text, content_type="text/plain") == []


def test_json_that_a_quote_would_break_is_a_warning() -> None:
    found = settings_of("template", template='{"a": "{{ data.data }}"}', events="high_risk_event")
    assert found.mistakes == ()
    assert any("a text in high_risk_event has a quote or a line break" in warning for warning in found.warnings)
    found = settings_of("template", template='{"a": {{ data.data | tojson }}, "b": "{{ severity }}"}')
    assert not any("quote" in warning for warning in found.warnings)


def test_only_the_events_that_an_endpoint_wants_are_tried_out() -> None:
    text = "{% if event_type == 'scan_started' %}{{ 1 / 0 }}{% endif %}{}"
    assert mistakes_of("template", template=text, events="scan_completed") == []
    assert mistakes_of("template", template=text, events="scan_*")


def test_a_slow_template_is_a_warning_and_no_more_examples_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "TRIAL_SECONDS", -1.0)
    found = settings_of("template", template="{{ 1 / (event_type == 'scan_started') | int }}", events="scan_*")
    assert (found.mistakes, any("the examples take more than 10 s" in one for one in found.warnings)) == ((), True)


def test_a_missing_package_is_a_clear_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sfwebhooks.formats.sandbox", None)
    (found,) = mistakes_of("template", template="{}")
    assert "[webhooks.team] format: template requires another package: pip install 'sfwebhooks[template]'" in found


def test_the_other_formats_do_not_need_the_package() -> None:
    code = "import sys; sys.modules['jinja2'] = None; from sfwebhooks.config.settings import load_mapping as load;"
    used = "print(load({'team': {'url': 'https://x.example/', 'format': 'slack'}}).mistakes)"
    assert subprocess.run([sys.executable, "-c", code + used], capture_output=True, text=True).stdout == "()\n"


def test_check_shows_the_line(cli: Callable[..., Result], tmp_path: Path) -> None:
    ini(tmp_path, 'template = {\n  "a": {{ severty }}\n  }')
    result = cli("check")
    assert "[webhooks.team] template: line 2: there is no variable 'severty'" in result.words
    assert ("config_mistake: see below" in result.words, result.code) == (True, 1)
    ini(tmp_path, 'template = {\n  "a": {{ severity | tojson }}\n  }')
    assert cli("check").code == 0


def test_preview_shows_what_is_sent(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    ini(tmp_path, 'template = {"a": {{ severity | tojson }}}\nmethod = PATCH')
    assert main(["preview", "team", "--event", "finding.critical", "--folder", str(tmp_path)]) == 0
    head, _, body = capfdbinary.readouterr().out.partition(b"\r\n\r\n")
    assert (head[:6], body) == (b"PATCH ", b'{"a": "critical"}\n')


# --- size


def test_the_data_of_a_long_message_are_cut_until_it_fits() -> None:
    delivery = a_delivery(an_event(data={"data": "x" * 60_000}))
    message = json_of('{"a": {{ data | tojson }}, "b": {{ data | tojson }}}', delivery)
    assert message["a"] == message["b"]
    assert 10_000 < len(message["a"]["data"]) < 50_000 and message["a"]["data_length"] == 60_000
    assert json_of("{{ data | tojson }}", delivery)["data"] == "x" * 60_000


def test_a_message_of_exactly_the_limit_is_sent_and_a_longer_one_fails() -> None:
    assert len(written("{{ 'ü' * 4000 }}", max_body=8000).body) == 8000
    with pytest.raises(TemplateFailedError, match="more than max_body"):
        written("{{ 'ü' * 4000 }}x", max_body=8000)


# --- sent


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_it_is_sent_by_its_method_with_its_content_type_and_signed(served: Served, sending: Start, method: str) -> None:
    ours = served(Collector("template"))
    one = sending(
        ours,
        template="{{ severity }}: {{ data.data }}",
        method=method,
        content_type="text/plain",
        secrets=["s" * 32],
        headers={"Accept": Secret("application/json")},
    )
    one.accept()
    assert one.step() and one.states == [("delivered", "http_200")]
    (asked,) = ours.got
    assert (asked.method, asked.text) == (method, "high: CVE-2026-0001")
    assert (asked.headers["Content-Type"], asked.headers["Accept"]) == ("text/plain", "application/json")
    assert asked.headers["webhook-signature"]


def test_a_failing_template_makes_a_dead_letter_with_its_line_and_stops_nothing(
    served: Served, sending: Start, caplog: pytest.LogCaptureFixture
) -> None:
    ours = served(Collector("template"))
    one = sending(ours, template=SOME_FAIL)
    one.accept(3)
    while one.step():
        pass
    assert sorted(one.states) == [("dead", "template_failed"), ("delivered", "http_200"), ("delivered", "http_200")]
    assert sql(one.outbox, "SELECT sum(crashes) FROM delivery") == [(0,)]
    (words,) = [words for reason, words in log_of(one.outbox) if reason == "template_failed"]
    assert words == "line 2: ZeroDivisionError: integer division or modulo by zero"
    assert (one.condition, len(ours.got)) == ("healthy", 2)
    assert list(one.queue.deaths) == [("team", "template_failed")]
    assert any("has a template that fails with high_risk_event, which is dead" in line for line in caplog.messages)


def log_of(outbox: Outbox) -> list[tuple[str, str]]:
    return sql(outbox, "SELECT reason, excerpt FROM delivery_attempt")


def test_templates_that_fail_say_nothing_about_the_endpoint(served: Served, sending: Start) -> None:
    ours = served(Collector("template"))
    one = sending(ours, template="{{ 1 / 0 }}")
    one.accept(12)
    while one.step():
        pass
    assert {*one.states} == {("dead", "template_failed")}
    assert (one.condition, ours.got) == ("healthy", [])


def test_a_probe_that_cannot_be_written_leaves_the_endpoint_to_the_next_one(served: Served, sending: Start) -> None:
    ours = served(Collector("template"))
    ours.instead = Answer(500)
    one = sending(ours, template=SOME_FAIL.replace("0002", "0001"))
    accept([an_event(number) for number in range(2, 8)], Screen((one.queue.states[0].endpoint,)), one.outbox, NOW)
    for _ in range(5):
        one.step()
    assert one.condition == "failing"
    one.accept(1)
    ours.instead = None
    for _ in range(30):
        one.step(60)
    assert one.condition == "healthy"
    assert sorted(one.states) == [("dead", "template_failed"), *[("delivered", "http_200")] * 6]


def test_a_corrected_template_sends_a_dead_letter_again(
    served: Served, sending: Start, cli: Callable[..., Result], clock: Clock
) -> None:
    ours = served(Collector("template"))
    one = sending(ours, template="{{ 1 / 0 }}")
    one.accept()
    assert one.step() and one.states == [("dead", "template_failed")]
    assert "template_failed" in cli("dead", "list").words
    ((delivery,),) = sql(one.outbox, "SELECT id FROM delivery")
    assert "line 1: ZeroDivisionError: division by zero" in cli("dead", "show", delivery).words
    assert cli("dead", "replay", "--all").code == 0
    two = sending(ours, template="{{ severity | tojson }}")
    one.queue.stop(0.0)
    assert two.step(1) and two.states == [("delivered", "http_200")]
    assert ours.got[0].json == "high"


# --- the documents


def section() -> str:
    (found,) = re.findall(r"^## Your own: template\n(.*)\Z", DOCS.read_text(encoding="utf-8"), re.S | re.M)
    return str(found)


@pytest.mark.parametrize("name", ["automation", "n8n", "tines", "shuffle", "servicenow"])
def test_the_documented_settings_work(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocks = re.findall(r"```ini\n(.*?)```", section(), re.S)
    (settings,) = [block for block in blocks if f"[webhooks.{name}]" in block]
    (jinja,) = re.findall(r"```jinja\n(.*?)```", section(), re.S)
    (tmp_path / "tines.json.j2").write_text(jinja, encoding="utf-8")
    for variable in re.findall(r"env:(\w+)", settings):
        monkeypatch.setenv(variable, URL if "URL" in variable else "a5ecretTextOf32LettersAndDigits0")
    (tmp_path / "webhooks.ini").write_text(settings, encoding="utf-8")
    found = load(tmp_path / "webhooks.ini")
    assert (found.mistakes, [one.name for one in found.endpoints]) == ((), [name])
    assert not any("template" in warning for warning in found.warnings)
    for delivery in examples_for(found.endpoints[0]):
        message = json.loads(template.render(delivery, found.endpoints[0]).body)
        assert all(value not in (None, "") for key, value in message.items() if key in NEEDED), message


#: the keys of the documented messages that every event fills
NEEDED = {"what", "where", "id", "event", "severity", "target", "title", "observable"} | {
    "short_description",
    "urgency",
    "impact",
    "correlation_id",
}


def test_the_documents_have_each_variable() -> None:
    rows = "".join(re.findall(r"^\| (`.*?) \|", section(), re.M))
    assert set(re.findall(r"`(\w+)`", rows)) == set(template.VARIABLES)


def test_the_documented_limit_is_that_of_the_code() -> None:
    assert f"may take {STEPS_MAX:,} steps" in section()


def test_severities_can_be_mapped() -> None:
    text = '{{ {"critical": 1, "high": 2}.get(severity, 3) }}'
    assert [text_of(text, a_delivery(an_event(severity=one))) for one in Severity] == ["3", "3", "3", "2", "1"]


def test_a_mapping_of_settings_takes_a_template_too() -> None:
    assert load_mapping({"team": {"url": URL, "format": "template", "template": "{\n}"}}).mistakes == ()
