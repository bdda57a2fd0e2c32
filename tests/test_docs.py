"""What the README and the example say is what the code does."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import shutil
import socket
import subprocess
import textwrap
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from sfwebhooks.cli import main, parser
from sfwebhooks.config import settings as config
from sfwebhooks.config.options import GENERAL_OPTIONS, OPEN_OPTIONS, RESERVED_METADATA, all_options
from sfwebhooks.config.values import long_seconds, seconds
from sfwebhooks.endpoints import DEFAULT_EVENTS, Endpoint
from sfwebhooks.formats import FORMATS
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.security_audit import guides_data
from sfwebhooks.health import FAILURES_MAX, PROBE_SECONDS
from sfwebhooks.outbox.file import Storage
from sfwebhooks.receive import verify
from sfwebhooks.retry import RETRY_STATUS
from sfwebhooks.scan.findings import DATA_MAX, event_of_finding
from sfwebhooks.service import IDLE_SECONDS
from sfwebhooks.signing import sign
from sfwebhooks.signing_keys import WHPK_HINT
from tests.benchmarks.figures import ROWS
from tests.builders import a_batch, a_delivery, a_finding, a_scan, an_endpoint, an_event
from tests.cli.test_cli import Listening
from tests.pages.commands import arguments, commands
from tests.receivers import GUIDES
from tests.rows import in_one
from tests.test_signing import WHPK, WHSK

ROOT = Path(__file__).parent.parent
TEXTS = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").glob("*.md"))]
DOCKER = ROOT / "docs" / "deployment"
DEPLOYMENT = sorted(path for path in DOCKER.rglob("*") if path.is_file())
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
#: a fenced block: indentation, fence, language, content
BLOCK = re.compile(r"^( *)(`{3,}|~{3,})(\w*)\n(.*?)^ *\2 *$", re.S | re.M)
#: a line with a command of ours: alone, after a pipe, in a container, by cron, in a Dockerfile; not one of an output
COMMAND_LINE = re.compile(
    r"(?: *|.*(?:\||--|CONTAINER|&&|exec) |[*/\d ]+ )(?:\S*/)?sfwebhooks ((?:[a-z]+|--version)\b.*)"
)
#: of the programs that the documents name besides ours
OPTIONS_OF_OTHERS = {"--init", "--upgrade", "--force-recreate", "--replicas", "--scale"}
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
SETTINGS, SIGNATURES, OPERATIONS = (PAGES[name] for name in ("configuration.md", "signatures.md", "operations.md"))
RECEIVERS = PAGES["receivers.md"]
#: a secret that is right for any key
KEY_OF_32 = "a5ecretTextOf32LettersAndDigits0"
#: a URL that is right for any format; a bot's ends in its method
URL_FOR_ALL = "https://r.example.test/webhooks/1/sendMessage"
#: everything that is written for users
DOCS = "\n".join([README, *PAGES.values()])
EXAMPLE = ROOT / "webhooks.ini.example"
KEYS = [*GENERAL_OPTIONS, *all_options(), *(f"{stem}NAME" for stem in OPEN_OPTIONS)]
COMMANDS = next(action for action in parser()._actions if action.choices).choices or ()


def blocks(text: str) -> list[tuple[str, str]]:
    """Return the language and the content of each block."""
    return [(found[3], textwrap.dedent(found[4])) for found in BLOCK.finditer(text)]


INI = [(path, block) for path in TEXTS for language, block in blocks(path.read_text("utf-8")) if language == "ini"]


@in_one("key", KEYS)
def test_the_documents_have_each_key(key: str) -> None:
    assert re.search(rf"^\| `{re.escape(key)}` \|", SETTINGS, re.M)


@in_one("key", all_options())
def test_the_readme_says_which_keys_are_inherited(key: str) -> None:
    rows = re.findall(rf"^\| `{key}` \| (yes|no) \|", SETTINGS, re.M)
    assert rows == ["yes" if all_options()[key].inherited else "no"]


@in_one("key", KEYS)
def test_the_example_has_each_key(key: str) -> None:
    assert re.search(rf"^{re.escape(key).replace('NAME', '[A-Za-z_-]+')} = ", EXAMPLE.read_text(encoding="utf-8"), re.M)


def test_the_readme_says_which_metadata_are_taken() -> None:
    (row,) = re.findall(r"^\| `metadata.NAME` \|.*$", SETTINGS, re.M)
    assert set(re.findall(r"`(\w+)`", row)) == set(RESERVED_METADATA)


def test_the_readme_has_no_key_that_is_unknown() -> None:
    assert set(re.findall(r"^\| `([\w.]+)` \|", SETTINGS, re.M)) == set(KEYS)


def value_for(variable: str) -> str:
    """Return a value that the key with env:VARIABLE accepts."""
    if "DSN" in variable:
        return "postgresql://reader@db.example.test/spiderfoot"
    if "DATABASE" in variable:
        return f"postgresql://hooks:{KEY_OF_32}@db.example.test/hooks"
    return URL_FOR_ALL if "URL" in variable else WHSK if "PROOF" in variable else KEY_OF_32


def test_the_example_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"env:(\w+)", EXAMPLE.read_text(encoding="utf-8")):
        monkeypatch.setenv(name, value_for(name))
    found = config.load(EXAMPLE)
    assert found.mistakes == ()
    assert {one.name for one in found.endpoints} == {
        "default",
        "security_team",
        "siem_system",
        "changes_desk",
        "soc",
        "audit_desk",
        "case_system",
        "archive",
        "files",
        "automation",
        "slack_alerts",
        "splunk",
        "datadog",
        "sentinel",
        "broker",
        "telegram_group",
        "jira",
        "servicenow",
        "phone",
        "apprise",
        "dingtalk",
        "on_call",
        "tickets",
        "dojo",
        "taxii",
        "misp",
        "thehive",
    }


def test_the_five_lines_of_the_readme_are_right(tmp_path: Path) -> None:
    found_lines = re.search(r"^( *)```ini\n(.*?)```", README, re.S | re.M)
    assert found_lines
    lines = textwrap.dedent(found_lines[2])
    (tmp_path / "webhooks.ini").write_text(lines)
    assert main(["keygen", "--file", str(tmp_path / "webhooks.secret")]) == 0
    assert "`sfwebhooks keygen --file ~/.spiderfoot/webhooks.secret`" in " ".join(README.split())
    found = config.load(tmp_path / "webhooks.ini")
    assert (len(lines.splitlines()), found.mistakes, found.enabled) == (5, (), True)
    assert [one.name for one in found.endpoints] == ["default"]


def test_the_commands_of_the_readme_give_a_first_signed_and_verified_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = README.partition("## A first endpoint\n")[2].partition("\n## ")[0]
    first, second = (shlex.split(block, comments=True) for block in re.findall(r"```\n(.*?)```", section, re.S))
    init, create, receive = (words.split() for words in " ".join(first).split("sfwebhooks ")[1:])
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))
    assert main(init) == 0
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert main([word.replace(":8080/", f":{port}/") for word in create]) == 0
    listening = Listening(*receive[1:])
    assert second[:2] == ["sfwebhooks", "test"]
    assert main(second[1:3]) == 0
    assert "  verified, " in listening.end()[1]


@in_one("command", COMMANDS)
def test_the_readme_has_each_command(command: str) -> None:
    assert re.search(rf"^\| `sfwebhooks .*\b{command}\b", OPERATIONS, re.M)


def test_the_readme_has_no_command_that_is_unknown() -> None:
    assert set(re.findall(r"sfwebhooks ([a-z]+) ?(?:`|-|\[|\n)", DOCS)) <= set(COMMANDS)


def uses(text: str) -> Iterator[list[str]]:
    """Yield the arguments of each `sfwebhooks ...` in a text, without what is optional, explained or piped."""
    for line in text.replace("\\\n", " ").splitlines():
        found = COMMAND_LINE.match(line)
        if found:
            words = re.sub(r"\[[^]]*\]|'\]$", "", found[1])
            yield shlex.split(re.split(r"\s{2,}|\s[#|;>]|\s&&", words)[0])


def usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what the parser says against a command line, or nothing."""
    try:
        parser().parse_args(arguments)
    except SystemExit as end:
        return capsys.readouterr().err if end.code else ""
    return ""


@pytest.mark.parametrize("path", [*TEXTS, *DEPLOYMENT], ids=lambda path: str(path.name))
def test_each_command_line_in_a_block_is_right(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = path.read_text(encoding="utf-8")
    if path in TEXTS:
        shell = "\n".join(block for language, block in blocks(text) if language in ("", "sh"))
    else:
        shell = re.sub(r"^#.*$", "", text, flags=re.M)
    wrong = {" ".join(each): said for each in uses(shell) if (said := usage_error(each, capsys))}
    assert wrong == {}


@pytest.mark.parametrize("path", [one for one in TEXTS if one.name != "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_each_command_and_option_in_a_sentence_is_right(path: Path) -> None:
    text = re.sub(BLOCK, "", path.read_text(encoding="utf-8"))
    known = {word for _, command in commands() for one in arguments(command) for word in one.option_strings}
    known |= {"--help", "--version"} | OPTIONS_OF_OTHERS
    names = {name for name, _ in commands()} | {name.partition(" ")[0] for name, _ in commands()}
    spans = re.findall(r"`([^`\n]+)`", text)
    options = {word for span in spans for word in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)}
    used = {found[1] for span in spans if (found := re.match(r"sfwebhooks ([a-z]+)\b", span))}
    assert (options - known, used - names) == (set(), set())


@pytest.mark.parametrize(("path", "block"), INI, ids=lambda value: value.name if isinstance(value, Path) else "")
def test_each_block_of_settings_is_right(
    path: Path, block: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in re.findall(r"env:(\w+)", block):
        monkeypatch.setenv(variable, value_for(variable))
    for name in re.findall(r"file:([\w.-]+)", block):
        (tmp_path / name).write_text("{}" if name.endswith(".j2") else KEY_OF_32)
    (tmp_path / "webhooks.ini").write_text(block, encoding="utf-8")
    assert config.load(tmp_path / "webhooks.ini").mistakes == ()


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.name))
def test_each_block_of_json_python_and_yaml_can_be_read(path: Path) -> None:
    for language, block in blocks(path.read_text(encoding="utf-8")):
        if language == "json":
            json.loads(block if block.lstrip()[0] in "{[" else f"{{{block}}}")
        elif language == "python":
            compile(block, path.name, "exec")
        elif language == "yaml":
            assert list(yaml.safe_load_all(block))


def test_each_page_is_in_the_site_and_in_its_navigation() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    copied = {"index.md", "reporting.md", "CONTRIBUTING.md", "CHANGELOG.md"}
    assert set(re.findall(r": (\S+\.md)$", site, re.M)) == copied | set(PAGES)


def test_the_sizes_of_a_deployment_are_those_that_were_measured() -> None:
    section = PAGES["deployment.md"].partition("## Sizing")[2].partition("\n## ")[0]
    rows = "\n".join(line for line in section.splitlines() if line.startswith("| "))
    figures = re.findall(r"[\d,.]+ (?:MB|us)|\d+,\d{3}", rows)
    assert len(figures) >= 8
    assert [figure for figure in figures if f" {figure} " not in PAGES["speed.md"]] == []


def test_the_manifest_for_kubernetes_has_what_it_refers_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {one["kind"]: one for one in yaml.safe_load_all((DOCKER / "kubernetes.yaml").read_text(encoding="utf-8"))}
    settings = parts["ConfigMap"]["data"]["webhooks.ini"]
    assert set(re.findall(r"env:(\w+)", settings)) == set(parts["Secret"]["stringData"])
    for variable in parts["Secret"]["stringData"]:
        monkeypatch.setenv(variable, value_for(variable))
    (tmp_path / "webhooks.ini").write_text(settings, encoding="utf-8")
    found = config.load(tmp_path / "webhooks.ini")
    assert (found.mistakes, found.enabled, len(found.endpoints)) == ((), True, 1)
    pod = parts["Deployment"]["spec"]["template"]["spec"]
    web, sender = pod["containers"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for each in (web, sender) for mount in each["volumeMounts"]} == volumes
    assert (web["env"], web["envFrom"], web["image"]) == (sender["env"], sender["envFrom"], sender["image"])
    assert pod["securityContext"]["runAsUser"] == int(re.findall(r"--uid (\d+)", DOCKERFILE)[0])


def test_the_dockerfile_copies_what_is_there() -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.M))
    assert set(re.findall(r"--from=(\S+)", DOCKERFILE)) | set(re.findall(r"--target (\S+)", DOCKERFILE)) <= stages
    assert f"docker build -f {(DOCKER / 'Dockerfile').relative_to(ROOT)} " in DOCKERFILE


def test_the_documented_headers_are_those_that_are_sent() -> None:
    endpoints = [an_endpoint(secrets=["x"], format=naming) for naming in GUIDES]
    sent = {name for one in endpoints for name in sign(Content(b""), a_batch(replayed=True), one, 0.0).headers}
    documented = set(re.findall(r"`((?:X-|webhook-)[\w-]+)(?:: [\w.]+)?`", PAGES["events.md"] + SIGNATURES))
    assert documented == {name for name in sent if name.startswith(("X-", "webhook-"))}


@pytest.mark.parametrize(("naming", "header"), [(name, FORMATS[name].naming.signature) for name in GUIDES])
def test_the_documented_way_to_verify_is_right(naming: str, header: str) -> None:
    code = re.search(r"```python\n(import hashlib\n.*?)```", RECEIVERS, re.S)
    assert code
    names: dict[str, Any] = {}
    exec(code[1], names)
    sent = sign(Content(b"{}"), a_batch(), an_endpoint(secrets=["the text"], format=naming), 0.0)
    given = sent.headers[header]
    assert names["is_ours"](sent.body, given, "the text")
    assert not names["is_ours"](sent.body + b"\n", given, "the text")
    assert not names["is_ours"](sent.body, given, "another text")


def test_the_documented_call_of_verify_is_right() -> None:
    code = re.search(r"```python\n(from sfwebhooks\.receive .*?)```", RECEIVERS, re.S)
    assert code
    names: dict[str, Any] = {}
    exec(code[1], names)
    batch = a_batch()
    sent = sign(Content(b"{}"), batch, an_endpoint(secrets=["the text"]), time.time())
    assert names["accept"](sent.body, sent.headers, "the text") == batch.id
    with pytest.raises(PermissionError, match="answer 401: webhook-signature does not fit"):
        names["accept"](sent.body + b" ", sent.headers, "the text")


def test_the_documented_signature_of_verify_is_its_own() -> None:
    found = inspect.signature(verify).parameters.values()
    words = [one.name if one.default is one.empty else f"{one.name}={one.default}" for one in found]
    words.insert(sum(one.kind is one.POSITIONAL_OR_KEYWORD for one in found), "*")
    assert f"`verify({', '.join(words)})`" in RECEIVERS
    assert all(f"\n| `{one.name}` |" in RECEIVERS for one in found)


def ed25519_cases() -> list[tuple[bytes, dict[str, str], bool]]:
    """Return bodies and headers, and whether they verify."""
    sent = sign(Content(b'{"a":"\xc3\xa9"}'), a_batch(), an_endpoint(secrets=["text", WHSK]), 0.0)
    headers = {name: value for name, value in sent.headers.items() if name.startswith("webhook-")}
    changes = [
        {"webhook-timestamp": "1"},
        {"webhook-signature": headers["webhook-signature"].split()[0]},
        {"webhook-signature": "v1a,AAAA v1a, v1a"},
    ]
    wrong = [(sent.body, {**headers, **change}, False) for change in changes]
    elsewhere = {"webhook-id": f"{headers['webhook-id']}.0.{{", "webhook-timestamp": "1"}
    message = sign(Content(b"{.1.forged"), a_batch(), an_endpoint(secrets=[WHSK]), 0.0)
    wrong.append((b"forged", {**message.headers, **elsewhere}, False))
    return [(sent.body, headers, True), (sent.body + b" ", headers, False), *wrong]


def test_the_documented_way_to_verify_with_a_public_key_in_python_is_right() -> None:
    code = re.search(r"```python\n(import base64\n.*?)```", RECEIVERS, re.S)
    assert code
    names: dict[str, Any] = {}
    exec(code[1], names)
    for body, headers, right in ed25519_cases():
        assert names["is_ours"](body, headers, WHPK) is right


@pytest.mark.skipif(not shutil.which("node"), reason="no JavaScript here")
def test_the_documented_way_to_verify_with_a_public_key_in_node_is_right() -> None:
    code = re.search(r"```js\n(.*?)```", RECEIVERS, re.S)
    assert code
    cases = [[body.decode(), headers] for body, headers, _ in ed25519_cases()]
    call = "for (const [b, h] of JSON.parse(process.argv[1])) console.log(isOurs(Buffer.from(b), h, process.argv[2]))"
    done = subprocess.run(
        ["node", "-e", code[1] + call, json.dumps(cases), WHPK], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["true" if right else "false" for _, _, right in ed25519_cases()]


def test_the_printed_words_about_public_keys_name_a_chapter_that_there_is() -> None:
    found = re.search(r"docs/(\S+) has the code \((.*?)\)", WHPK_HINT)
    assert found and f"\n## {found[2]}\n" in PAGES[found[1]]


def test_the_readme_has_each_key_that_security_audit_adds() -> None:
    finding = event_of_finding(a_finding(), a_scan(), "Vulnerability - CVE High")
    scan = an_event(data={"events_by_severity": {}})
    cases = (("finding.high", finding), ("scan.started", scan), ("scan.failed", scan))
    contents = [guides_data(name, a_delivery(event), dict(event.data), "") for name, event in cases]
    added = {key for data in contents for key in data} - set(finding.data)
    assert {key for key in added - set(scan.data) if f"`{key}`" not in DOCS} == set()


def test_the_documented_defaults_are_those_of_the_code() -> None:
    assert ", ".join(DEFAULT_EVENTS) in DOCS
    assert f"({Endpoint.timeout:.0f}s)" in DOCS
    assert f"attempts at once ({Endpoint.concurrency}; chat formats 1)" in DOCS
    assert f"({len(Endpoint.retry_schedule)})" in DOCS
    assert (Endpoint.retry_after_max, Endpoint.max_age, Endpoint.batch_wait) == (seconds("1h"), seconds("7d"), 2)
    assert all(words in DOCS for words in ("`Retry-After` (1h, at most 2h)", "dead letter (7d)", "others (2s)"))
    assert (Endpoint.max_body, "number of bytes (100kB)" in DOCS, f"limited to {DATA_MAX:,} char" in DOCS) == (
        100_000,
        True,
        True,
    )
    assert (Storage.max_bytes / 1e6, config.Settings.keep_delivered) == (512, seconds("7d"))
    assert config.Settings.keep_dead == seconds("90d")
    assert config.Settings.sightings_keep == long_seconds("400d")
    assert (Endpoint.retry_schedule, "5s, 1m, 5m, 15m, 1h, 6h" in DOCS) == ((5, 60, 300, 900, 3600, 21600), True)
    assert f"({config.Settings.drain_timeout:.0f}s)" in DOCS
    assert (config.Settings.detach_timeout, "the last scan (15m)" in DOCS) == (seconds("15m"), True)
    assert f"when for {IDLE_SECONDS:.0f} s no scan" in OPERATIONS
    assert f"of a running scan ({config.Settings.progress_interval:.0f}s)" in DOCS
    assert (FAILURES_MAX, PROBE_SECONDS[0], PROBE_SECONDS[-1]) == (5, 30, 900)
    assert "five failures" in DOCS and "30 s" in DOCS and "15 minutes" in DOCS


def test_the_documents_have_each_format() -> None:
    (row,) = re.findall(r"^\| `format` \|.*$", SETTINGS, re.M)
    assert set(re.findall(r"`([\w-]+)`", row)) == {"format", *FORMATS}


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.is_chat and name != "slack"])
def test_each_format_of_a_service_has_a_section_with_settings_that_are_right(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (section,) = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", PAGES["formats.md"], re.S | re.M)
    (settings,) = re.findall(r"```ini\n(.*?)```", section, re.S)
    for variable in re.findall(r"env:(\w+)", settings):
        monkeypatch.setenv(variable, value_for(variable))
    (tmp_path / "webhooks.ini").write_text(settings, encoding="utf-8")
    found = config.load(tmp_path / "webhooks.ini")
    assert (found.mistakes, [one.format for one in found.endpoints]) == ((), [name])
    assert {key.name for key in FORMATS[name].keys} <= set(re.findall(r"^(\w+) =", settings, re.M))


def test_the_documented_replies_are_those_of_the_code() -> None:
    rows = {cells[1]: cells[0] for cells in re.findall(r"^\| (.*?) \| (.*?) \|$", DOCS, re.M)}
    retried = next(row for meaning, row in rows.items() if meaning.startswith("tried again"))
    assert {int(number) for number in re.findall(r"\b\d{3}\b", retried)} == RETRY_STATUS


def test_ci_runs_the_two_commands_of_the_readme() -> None:
    commands = re.findall(r"^python3 -m venv .*$", README, re.M)
    assert len(commands) == 2
    assert commands[0].endswith("sfwebhooks demo") and commands[1].endswith("pytest")
    assert "grep '^python3 -m venv' README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("marker", ["slow", "campaign"])
def test_skipped_tests_are_named_with_their_command(marker: str) -> None:
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert (f"\n    {marker}: " in setup, f"not {marker}" in setup) == (True, True)
    for text in (README, (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        assert f"pytest -m {marker}" in text


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "path", [*ROOT.glob("*.md"), *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: str(path.name)
)
def test_each_link_leads_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)(.*?)\)", text):
        name, _, anchor = target.partition("#")
        page = path.parent / name if name else path
        assert page.is_file(), target
        assert not anchor or anchor in anchors(page.read_text(encoding="utf-8")), target


@pytest.mark.skipif(not find_spec("sfscan"), reason="some rows need the scanner")
def test_the_page_of_speed_has_the_rows_of_the_benchmarks_but_perhaps_that_of_a_new_format() -> None:
    _, *groups = re.split(r"^## ", PAGES["speed.md"], flags=re.M)
    rows = ((group.partition("\n")[0], row) for group in groups for row in re.findall(r"^\| (.*?) \|", group, re.M))
    found = [f"{group}: {row}" for group, row in rows if row != "row"]
    assert found == [row for row in ROWS if row in found or not row.startswith("render: ")]


def test_the_readme_is_a_front_door() -> None:
    assert len(README.splitlines()) <= 250
    assert {name for name in PAGES if f"(docs/{name})" not in README} == set()
