"""Trackers: stateful fakes of GitHub's issues and of others, whose search lags behind what was created.

Time is what `Tracker.clock` says. A test can let the next change be made and its answer be lost, and be the person who
closes a ticket.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Callable

from sfwebhooks.endpoints import Secret
from tests.builders import NOW
from tests.receivers.vendor import Answer, Asked, Checks, Interruptible, Json, first

#: seconds after which a search finds what was created, and shows what was changed or deleted
LAG = 200.0
HIDDEN = re.compile("<!--.*?-->", re.DOTALL)
WORD = re.compile("[a-z0-9]+")


@dataclass
class Held:
    """A ticket that a tracker holds."""

    key: str
    at: float
    #: what it was created with
    made: Json
    #: words of its state, and names of its resolution or reason
    state: str = "open"
    resolution: str | None = None
    labels: list[str] = field(default_factory=list)
    #: texts and times
    comments: list[tuple[str, float]] = field(default_factory=list)


class Tracker(Interruptible):
    """A tracker of one project."""

    def __init__(self) -> None:
        super().__init__()
        self.clock: Callable[[], float] = lambda: NOW
        #: key -> ticket, in the order of their creation
        self.held: dict[str, Held] = {}
        #: time -> what was held then
        self._indexed: dict[float, list[Held]] = {}
        self._number = 0
        #: whether it says that it closes a ticket, and does not
        self.is_stubborn = False

    @property
    def open(self) -> list[Held]:
        """The open tickets."""
        return [one for one in self.held.values() if one.state == "open"]

    def __call__(self, asked: Asked) -> Answer:
        self._index()
        try:
            return super().__call__(asked)
        finally:
            self._index()

    def next_number(self) -> int:
        """Return the number of a new ticket: that of a deleted one is not used again."""
        self._number += 1
        return self._number

    def dismiss(self, key: str) -> None:
        """Close a ticket as a person does who does not want it."""
        raise NotImplementedError

    def shut(self, key: str) -> None:
        """Close a ticket as a person does who has repaired it."""
        raise NotImplementedError

    def searched(self) -> list[Held]:
        """Return the tickets that a search shows, the latest first, as they were a while ago."""
        return next((found for at, found in reversed(self._indexed.items()) if self.clock() - at >= LAG), [])

    def _index(self) -> None:
        self._indexed[self.clock()] = [replace(one) for one in reversed(self.held.values())]


class GitHub(Tracker):
    """The issues of a repository at api.github.com."""

    format = "github_issue"
    path = "/repos/acme/security/issues"
    token = "ghp_0123456789abcdef"
    keys = {"api_key": token}
    gone = Answer(401, {"message": "Bad credentials", "status": "401"})
    busy = Answer(
        403,
        {"message": "You have exceeded a secondary rate limit."},
        {"Retry-After": "60", "X-RateLimit-Remaining": "9"},
    )
    wait = 60.0
    #: whether a search runs out of time
    is_slow = False

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("Authorization") != f"Bearer {self.token}":
            return self.gone
        if not asked.headers.get("User-Agent"):
            return Answer(403, "Request forbidden by administrative rules.")
        if asked.path == "/search/issues" and asked.method == "GET":
            return self.search(asked.query["q"][0])
        found = re.fullmatch(rf"{self.path}(?:/(\d+)(/comments)?)?", asked.path)
        if not found:
            return Answer(404, {"message": "Not Found"})
        number, comments = found.groups()
        if number is None:
            return self.create(asked.json) if asked.method == "POST" else Answer(404, {"message": "Not Found"})
        if number not in self.held:
            return Answer(410, {"message": "This issue was deleted"})
        one = self.held[number]
        if comments:
            return self.commented(one, asked)
        if asked.method == "PATCH":
            changes = asked.json
            one.state = "open" if self.is_stubborn else changes["state"]
            one.resolution = changes.get("state_reason", "completed") if one.state == "closed" else "reopened"
        return Answer(200, self.shown(one))

    def search(self, words: str) -> Answer:
        """Find issues by a quoted text."""
        quoted = re.match(r'"([^"]+)" in:body is:issue repo:acme/security$', words)
        if not quoted:
            return Answer(422, {"message": "Validation Failed"})
        found = [] if self.is_slow else self.searched()
        phrase = f" {' '.join(words_of(quoted[1]))} "
        items = [self.shown(one) for one in found if phrase in f" {' '.join(words_of(one.made['body']))} "]
        return Answer(200, {"total_count": len(items), "incomplete_results": self.is_slow, "items": items})

    def create(self, issue: Json) -> Answer:
        fault = first(self.faults(issue))
        if fault or not self.is_wanted(issue):
            return Answer(422, {"message": "Validation Failed", "errors": [{"field": fault}]})
        one = Held(str(self.next_number()), self.clock(), issue, labels=issue.get("labels", []))
        self.held[one.key] = one
        self.taken.append(issue)
        return Answer(201, self.shown(one))

    def commented(self, one: Held, asked: Asked) -> Answer:
        if asked.method == "POST":
            one.comments.append((asked.json["body"], self.clock()))
            return Answer(201, {"id": len(one.comments), "body": asked.json["body"]})
        return Answer(200, [{"id": place, "body": text} for place, (text, _) in enumerate(one.comments)])

    def shown(self, one: Held) -> Json:
        """Return an issue as GitHub shows it."""
        return {
            "number": int(one.key),
            "html_url": f"https://github.com/acme/security/issues/{one.key}",
            "state": one.state,
            "state_reason": one.resolution,
            "title": one.made["title"],
            "body": one.made["body"],
            "labels": [{"name": label} for label in one.labels],
        }

    def dismiss(self, key: str) -> None:
        self.held[key].state, self.held[key].resolution = "closed", "not_planned"

    def shut(self, key: str) -> None:
        self.held[key].state, self.held[key].resolution = "closed", "completed"

    def faults(self, message: Json) -> Checks:
        yield set(message) <= {"title", "body", "labels", "assignees", "milestone"}, "keys"
        yield bool(message["title"].strip()) and len(message["title"]) <= 256, "title"
        yield len(message["body"]) <= 65_536, "body"

    def mischief(self, message: Json) -> Checks:
        """Look for what is outside of the code block."""
        yield "\n" not in message["title"], "title"
        yield from outside_of_code(message["body"])


class Jira(Tracker):
    """A project of Jira Cloud, whose issues are to do, in progress or done."""

    format = "jira"
    version = "3"
    project = "SEC"
    token = "ATATT3xFfGF0"
    keys = {"project": project, "api_key": token}
    gone = Answer(401, {"errorMessages": ["Client must be authenticated to access this resource."]})
    busy = Answer(429, {"errorMessages": ["Rate limit exceeded."]}, {"Retry-After": "30"})
    wait = 30.0
    categories = {"open": "new", "closed": "done"}
    #: names of the transitions from each state -> that to which they lead
    transitions = {"open": {"Start": "open", "Resolve": "closed"}, "closed": {"Reopen": "open"}}

    def __init__(self) -> None:
        super().__init__()
        #: whether a closed issue can be opened again
        self.can_reopen = True
        #: name of a field that an issue needs; empty: no further one
        self.required = ""

    @property
    def path(self) -> str:  # type: ignore[override]
        return f"/rest/api/{self.version}/issue"

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("Authorization") != f"Bearer {self.token}":
            return self.gone
        base = f"/rest/api/{self.version}/"
        if asked.path == base + ("search/jql" if self.version == "3" else "search"):
            return self.search(asked.query["jql"][0])
        if asked.path == base + "search":
            return Answer(410, {"errorMessages": ["The requested API has been removed."]})
        if asked.path == self.path and asked.method == "POST":
            return self.create(asked.json["fields"])
        found = re.fullmatch(rf"{self.path}/([A-Z]+-\d+)(/comment|/transitions)?", asked.path)
        if not found or found[1] not in self.held:
            return Answer(404, {"errorMessages": ["Issue does not exist or you do not have permission to see it."]})
        one = self.held[found[1]]
        if found[2] == "/comment":
            return self.commented(one, asked)
        return self.moved(one, asked) if found[2] else Answer(200, self.shown(one))

    def search(self, words: str) -> Answer:
        """Find issues by their label."""
        found = re.fullmatch(r'project = "(\w+)" AND labels = "(sf\w+)" ORDER BY created DESC', words)
        if not found or found[1] != self.project:
            return Answer(400, {"errorMessages": ["The value does not exist for the field 'project'."]})
        return Answer(200, {"issues": [self.shown(one) for one in self.searched() if found[2] in one.labels]})

    def create(self, fields: Json) -> Answer:
        fault = first(self.faults(fields)) or self.required
        if fault or not self.is_wanted(fields):
            return Answer(400, {"errorMessages": [], "errors": {fault or "summary": "is invalid"}})
        one = Held(f"{self.project}-{self.next_number()}", self.clock(), fields, labels=fields["labels"])
        self.held[one.key] = one
        self.taken.append(fields)
        return Answer(201, {"id": "10000", "key": one.key, "self": f"{self.root}{self.path}/10000"})

    def commented(self, one: Held, asked: Asked) -> Answer:
        if asked.method == "POST":
            fault = first(self.document(asked.json["body"], "body"))
            if fault:
                return Answer(400, {"errorMessages": [], "errors": {"comment": fault}})
            one.comments.append((json.dumps(asked.json["body"]), self.clock()))
            return Answer(201, {"id": "1"})
        return Answer(200, {"comments": [{"body": text} for text, _ in reversed(one.comments)]})

    def moved(self, one: Held, asked: Asked) -> Answer:
        ways = {**self.transitions[one.state]} if self.can_reopen or one.state == "open" else {}
        if asked.method == "GET":
            shown = [
                {"id": str(place), "name": name, "to": self.status(state), "fields": self.fields_of(state)}
                for place, (name, state) in enumerate(ways.items())
            ]
            return Answer(200, {"transitions": shown})
        taken = {str(place): state for place, state in enumerate(ways.values())}.get(asked.json["transition"]["id"])
        resolution = asked.json.get("fields", {}).get("resolution")
        if taken is None or bool(resolution) != (taken == "closed"):
            return Answer(400, {"errorMessages": ["It seems that you have tried to perform an illegal workflow."]})
        one.state, one.resolution = taken, resolution["name"] if resolution else None
        return Answer(204)

    def fields_of(self, state: str) -> Json:
        """Return the fields of the transition to a state."""
        values = [{"name": "Won't Do"}, {"name": "Done"}]
        return {"resolution": {"required": True, "allowedValues": values}} if state == "closed" else {}

    def status(self, state: str) -> Json:
        return {"name": {"open": "To Do", "closed": "Done"}[state], "statusCategory": {"key": self.categories[state]}}

    def shown(self, one: Held) -> Json:
        """Return an issue as Jira shows it."""
        resolution = {"name": one.resolution} if one.resolution else None
        return {
            "key": one.key,
            "fields": {"status": self.status(one.state), "resolution": resolution, "labels": one.labels},
        }

    def dismiss(self, key: str) -> None:
        self.held[key].state, self.held[key].resolution = "closed", "Won't Do"

    def shut(self, key: str) -> None:
        self.held[key].state, self.held[key].resolution = "closed", "Done"

    def faults(self, message: Json) -> Checks:
        yield set(message) <= {"project", "issuetype", "summary", "description", "labels"}, "fields"
        yield message["project"] == {"key": self.project}, "project"
        yield message["issuetype"] == {"name": "Task"}, "issuetype"
        yield 0 < len(message["summary"].strip()) < 255 and "\n" not in message["summary"], "summary"
        yield not any(re.search(r"\s", label) for label in message["labels"]), "labels"
        yield from self.document(message["description"], "description")

    def document(self, text: Any, name: str) -> Checks:
        """Check a text of an issue: a document (ADF)."""
        yield isinstance(text, dict) and text["version"] == 1 and text["type"] == "doc", name
        for node in text["content"]:
            yield node["type"] in ("paragraph", "codeBlock"), name
            yield all(one["type"] == "text" and one["text"] for one in node["content"]), name

    def mischief(self, message: Json) -> Checks:
        first_node, *others = message["description"]["content"]
        yield first_node["type"] == "codeBlock" and not others, "a text outside of the code block"


class JiraDataCenter(Jira):
    """The same in Jira Data Center, whose texts are wiki markup."""

    version = "2"

    def document(self, text: Any, name: str) -> Checks:
        yield isinstance(text, str) and len(text) <= 32_767, name

    def mischief(self, message: Json) -> Checks:
        text = message["description"]
        yield text.startswith("{noformat}\n") and text.endswith("\n{noformat}"), "a text outside of the block"
        yield text.lower().count("{noformat") == 2, "the end of the block in a text"


class GitLab(Tracker):
    """The issues of a project at gitlab.com."""

    format = "gitlab_issue"
    path = "/api/v4/projects/acme%2Fsecurity/issues"
    token = "glpat-0123456789abcdef"
    keys = {"api_key": token}
    gone = Answer(401, {"message": "401 Unauthorized"})
    busy = Answer(429, "Retry later\n", {"Retry-After": "30"})
    wait = 30.0

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("Authorization") != f"Bearer {self.token}":
            return self.gone
        if asked.path == self.path and asked.method == "POST":
            return self.create(asked.json)
        if asked.path == self.path:
            words = set(words_of(asked.query["search"][0]))
            known = [one for one in self.searched() if words <= set(words_of(one.made["description"]))]
            return Answer(200, [self.shown(one) for one in known])
        found = re.fullmatch(rf"{self.path}/(\d+)(/notes)?", asked.path)
        if not found or found[1] not in self.held:
            return Answer(404, {"message": "404 Not found"})
        one = self.held[found[1]]
        if found[2]:
            return self.noted(one, asked)
        if asked.method == "PUT":
            one.state = "open" if self.is_stubborn else {"close": "closed", "reopen": "open"}[asked.json["state_event"]]
        return Answer(200, self.shown(one))

    def create(self, issue: Json) -> Answer:
        fault = first(self.faults(issue))
        if fault or not self.is_wanted(issue):
            return Answer(400, {"message": {fault or "title": ["is invalid"]}})
        one = Held(str(self.next_number()), self.clock(), issue, labels=issue["labels"].split(","))
        self.held[one.key] = one
        self.taken.append(issue)
        return Answer(201, self.shown(one))

    def noted(self, one: Held, asked: Asked) -> Answer:
        if asked.method == "POST":
            one.comments.append((asked.json["body"], self.clock()))
            return Answer(201, {"id": len(one.comments), "body": asked.json["body"]})
        return Answer(200, [{"id": 1, "body": text} for text, _ in reversed(one.comments)])

    def shown(self, one: Held) -> Json:
        """Return an issue as GitLab shows it."""
        return {
            "iid": int(one.key),
            "web_url": f"https://gitlab.com/acme/security/-/issues/{one.key}",
            "state": {"open": "opened", "closed": "closed"}[one.state],
            **one.made,
            "labels": one.labels,
        }

    def dismiss(self, key: str) -> None:
        self.shut(key)
        self.held[key].labels = [*self.held[key].labels, "WontFix"]

    def shut(self, key: str) -> None:
        self.held[key].state = "closed"

    def faults(self, message: Json) -> Checks:
        yield set(message) <= {"title", "description", "labels"}, "keys"
        yield 0 < len(message["title"].strip()) <= 255, "title"
        yield len(message["description"]) <= 1_048_576, "description"

    def mischief(self, message: Json) -> Checks:
        yield not re.search(r"\n|(?<!\w)@\w|[#!~%&$^\[]\w", message["title"]), "title"
        yield from outside_of_code(message["description"])


class ServiceNow(Tracker):
    """The incidents of an instance of ServiceNow. A closed one cannot be opened again."""

    format = "servicenow"
    path = "/api/now/table/incident"
    gone = Answer(401, {"error": {"message": "User Not Authenticated", "detail": ""}, "status": "failure"})
    busy = Answer(429, {"error": {"message": "Rate limit exceeded"}}, {"Retry-After": "30"})
    wait = 30.0

    @property
    def fields(self) -> Mapping[str, Any]:
        return {"auth": "basic", "username": "spiderfoot", "password": Secret("correct horse battery staple")}

    def answer(self, asked: Asked) -> Answer:
        if not asked.headers.get("Authorization", "").startswith("Basic "):
            return self.gone
        if asked.path == self.path and asked.method == "POST":
            return self.create(asked.json)
        if asked.path == self.path:
            found = re.fullmatch(r"correlation_id=(sf\w+)\^ORDERBYDESCsys_created_on", asked.query["sysparm_query"][0])
            mark = found[1] if found else ""
            shown = [self.shown(one) for one in self.searched() if one.made["correlation_id"] == mark]
            return Answer(200, {"result": shown})
        one = self.held.get(asked.path.rpartition("/")[2])
        if one is None:
            return Answer(404, {"error": {"message": "No Record found"}, "status": "failure"})
        if asked.method == "PATCH":
            return self.changed(one, asked.json)
        if asked.query["sysparm_fields"] == ["work_notes"]:
            return Answer(200, {"result": {"work_notes": "\n\n".join(text for text, _ in reversed(one.comments))}})
        return Answer(200, {"result": self.shown(one)})

    def changed(self, one: Held, changes: Json) -> Answer:
        if "work_notes" in changes:
            one.comments.append((changes["work_notes"], self.clock()))
        if changes.get("state") == "6":
            if not (changes.get("close_code") and changes.get("close_notes")):
                return Answer(403, {"error": {"message": "Operation Failed", "detail": "Data Policy Exception"}})
            one.state, one.resolution = ("open", None) if self.is_stubborn else ("closed", "6")
        elif changes.get("state") == "2":
            if one.resolution != "6":
                return Answer(403, {"error": {"message": "Operation Failed", "detail": "it is closed"}})
            one.state, one.resolution = "open", None
        return Answer(200, {"result": self.shown(one)})

    def create(self, record: Json) -> Answer:
        fault = first(self.faults(record))
        if fault or not self.is_wanted(record):
            return Answer(400, {"error": {"message": f"invalid {fault}"}, "status": "failure"})
        one = Held(f"{self.next_number():032x}", self.clock(), record)
        self.held[one.key] = one
        self.taken.append(record)
        return Answer(201, {"result": self.shown(one)})

    def shown(self, one: Held) -> Json:
        """Return a record as ServiceNow shows it."""
        return {
            "sys_id": one.key,
            "number": f"INC{int(one.key, 16):07d}",
            "state": one.resolution or "1",
            "close_code": "",
            "correlation_id": one.made["correlation_id"],
        }

    def dismiss(self, key: str) -> None:
        self.held[key].state, self.held[key].resolution = "closed", "8"

    def shut(self, key: str) -> None:
        self.held[key].state, self.held[key].resolution = "closed", "7"

    def faults(self, message: Json) -> Checks:
        names = {"short_description", "description", "correlation_id", "correlation_display"}
        yield set(message) == names, "fields"
        yield 0 < len(message["short_description"].strip()) <= 160, "short_description"
        yield len(message["correlation_id"]) <= 100, "correlation_id"

    def mischief(self, message: Json) -> Checks:
        yield "\n" not in message["short_description"], "short_description"


def words_of(text: str) -> list[str]:
    """Return the words by which a search finds a text."""
    return WORD.findall(HIDDEN.sub(" ", text).lower())


def outside_of_code(text: str) -> Checks:
    """Check that all of a text but its mark is in one code block."""
    fence = re.match("`{3,}", text)
    yield fence is not None, "a text outside of a code block"
    if fence:
        inside, outside = text[len(fence[0]) :].split(f"\n{fence[0]}\n", 1)
        yield re.fullmatch(r"\nsfwebhooks sf[0-9a-f]{24}", outside) is not None, "a text after the code block"
        yield fence[0] not in inside, "the fence in a text"
