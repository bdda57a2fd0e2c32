"""Services that store events for machines: Splunk, Elasticsearch, Datadog, Graylog, a CloudEvents broker, and a plain
collector for formats that belong to no vendor."""

from __future__ import annotations

import base64
import csv
import io
import json
import uuid
from collections.abc import Sequence
from typing import Any

from tests.receivers.vendor import Answer, Asked, Json, Vendor


class Splunk(Vendor):
    """Splunk's HTTP Event Collector. It indexes the events of a request in their order up to the first invalid one.

    A token may want acknowledgement: a request then needs a channel, its answer has an `ackId`, and /ack says whether
    its events are indexed: true once, after which the id is forgotten. A test can let them wait, or be lost.
    """

    format = "splunk_hec"
    path = "/services/collector/event"
    ack_path = "/services/collector/ack"
    token = "0f6a1f4e-token-of-splunk"
    keys = {"api_key": token}
    gone = Answer(403, {"text": "Invalid token", "code": 4})
    busy = Answer(503, {"text": "Server is busy", "code": 9})

    def __init__(self) -> None:
        super().__init__()
        #: whether the events in front of an invalid one are indexed
        self.keeps_first = True
        #: whether the token wants acknowledgement
        self.acknowledges = False
        #: whether events stay in the pipeline until `index` or `lose`
        self.is_slow = False
        #: channel -> id of a request -> whether its events are indexed
        self.channels: dict[str, dict[int, bool]] = {}
        #: events in the pipeline, those of a request with its channel and id
        self.pipeline: list[tuple[str, int, list[Json]]] = []
        self._ids: dict[str, int] = {}

    def answer(self, asked: Asked) -> Answer:
        scheme, _, token = asked.headers.get("Authorization", "").partition(" ")
        if asked.path not in (self.path, self.ack_path):
            return Answer(404, {"text": "The requested URL was not found on this server.", "code": 404})
        if not scheme:
            return Answer(401, {"text": "Token is required", "code": 2})
        if scheme != "Splunk":
            return Answer(401, {"text": "Invalid authorization", "code": 3})
        if token != self.token:
            return self.gone
        channel = asked.query.get("channel", [""])[0] or asked.headers.get("X-Splunk-Request-Channel", "")
        if self.acknowledges and not channel:
            return Answer(400, {"text": "Data channel is missing", "code": 10})
        if self.acknowledges and not _is_guid(channel):
            return Answer(400, {"text": "Invalid data channel", "code": 11})
        return self._acknowledge(asked, channel) if asked.path == self.ack_path else self._take(asked, channel)

    def index(self) -> None:
        """Index all events in the pipeline."""
        for channel, number, events in self.pipeline:
            self.taken += events
            if channel:
                self.channels[channel][number] = True
        self.pipeline.clear()

    def lose(self) -> None:
        """Lose all events in the pipeline: the indexer crashed, so they are never acknowledged."""
        self.pipeline.clear()

    def forget(self) -> None:
        """Forget all acknowledgements, as after a restart: what was indexed is never acknowledged either."""
        self.channels = {channel: {} for channel in self.channels}

    def _acknowledge(self, asked: Asked, channel: str) -> Answer:
        if not self.acknowledges:
            return Answer(400, {"text": "ACK is disabled", "code": 14})
        known = self.channels.setdefault(channel, {})
        found = {str(number): known.get(number, False) for number in asked.json["acks"]}
        for number, is_indexed in found.items():
            if is_indexed:
                del known[int(number)]
        return Answer(200, {"acks": found})

    def _take(self, asked: Asked, channel: str) -> Answer:
        try:
            envelopes = concatenated(asked.text)
        except ValueError:
            return self._invalid(6, "Invalid data format", 0)
        if not envelopes:
            return Answer(400, {"text": "No data", "code": 5})
        faults = ((at, self._fault(one)) for at, one in enumerate(envelopes))
        at, fault = next((found for found in faults if found[1]), (len(envelopes), None))
        if fault:
            self.taken += envelopes[:at] if self.keeps_first else []
            return self._invalid(*fault, at)
        if not self.acknowledges:
            self._pass(envelopes)
            return Answer(200, {"text": "Success", "code": 0})
        number = self._ids[channel] = self._ids.get(channel, -1) + 1
        self.channels.setdefault(channel, {})[number] = False
        self._pass(envelopes, channel, number)
        return Answer(200, {"text": "Success", "code": 0, "ackId": number})

    def _pass(self, envelopes: list[Json], channel: str = "", number: int = 0) -> None:
        self.pipeline.append((channel, number, envelopes))
        if not self.is_slow:
            self.index()

    @staticmethod
    def _invalid(code: int, words: str, number: int) -> Answer:
        return Answer(400, {"text": words, "code": code, "invalid-event-number": number})

    def _fault(self, envelope: Json) -> tuple[int, str] | None:
        """Return code and words for what is wrong with an event."""
        if "event" not in envelope:
            return 12, "Event field is required"
        if envelope["event"] == "":
            return 13, "Event field cannot be blank"
        if not envelope.keys() <= {"time", "host", "source", "sourcetype", "index", "event", "fields"}:
            return 6, "Invalid data format"
        fields = envelope.get("fields", {})
        if not all(isinstance(value, str) for value in fields.values()) or not self.is_wanted(envelope):
            return 15, "Error in handling indexed fields"
        return None


def concatenated(text: str) -> list[Json]:
    """Return JSON objects that follow each other, with at most a line break between two."""
    found, decoder, at = [], json.JSONDecoder(), 0
    while at < len(text):
        one, at = decoder.raw_decode(text, at)
        if not isinstance(one, dict):
            raise ValueError("not an object")
        found.append(one)
        at += text[at : at + 1] == "\n"
    return found


def _is_guid(text: str) -> bool:
    try:
        return bool(uuid.UUID(text))
    except ValueError:
        return False


class Elasticsearch(Vendor):
    """The bulk API of a data stream of Elasticsearch: it judges each document by itself."""

    format = "elastic"
    path = "/logs-spiderfoot-default/_bulk"
    key = base64.b64encode(b"id:key-of-elastic").decode()
    keys = {"api_key": key}
    gone = Answer(401, {"error": {"type": "security_exception"}, "status": 401})
    busy = Answer(429, {"error": {"type": "es_rejected_execution_exception"}, "status": 429})

    def __init__(self) -> None:
        super().__init__()
        #: id -> document, in order
        self.stored: dict[str, Json] = {}
        #: a document that has one of these texts is answered with 429, once for each text
        self.rejected: set[str] = set()
        #: whether answers are lost on their way, after the documents were stored
        self.loses_answers = False

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("Authorization") != f"ApiKey {self.key}":
            return self.gone
        *lines, end = asked.body.split(b"\n")
        if asked.headers["Content-Type"] != "application/x-ndjson" or end or len(lines) % 2:
            return Answer(400, {"error": {"type": "illegal_argument_exception"}, "status": 400})
        pairs = [(json.loads(action), json.loads(document)) for action, document in zip(lines[::2], lines[1::2])]
        if any(action.keys() != {"create"} for action, _ in pairs):
            return Answer(400, {"error": {"type": "illegal_argument_exception"}, "status": 400})
        items = [self._create(action["create"]["_id"], document) for action, document in pairs]
        if self.loses_answers:
            return Answer(502)
        answer = {"errors": any(item["status"] >= 300 for item in items), "items": [{"create": item} for item in items]}
        return Answer(200, answer if "filter_path" in asked.query else {"took": 3, **answer})

    def _create(self, its_id: str, document: Json) -> Json:
        if its_id in self.stored:
            return {"status": 409, "error": {"type": "version_conflict_engine_exception"}}
        text = json.dumps(document)
        found = next((word for word in self.rejected if word in text), None)
        if found:
            self.rejected.discard(found)
            return {"status": 429, "error": {"type": "es_rejected_execution_exception"}}
        if not self.is_wanted(text):
            return {"status": 400, "error": {"type": "document_parsing_exception"}}
        self.stored[its_id] = document
        self.taken.append(document)
        return {"status": 201}


class Datadog(Vendor):
    """Datadog's intake of logs. It accepts a log that is too long and cuts it without a word, which makes it no log."""

    format = "datadog"
    path = "/api/v2/logs"
    key = "0123456789-key-of-datadog"
    keys = {"api_key": key}
    gone = Answer(403, {"errors": [{"status": "403", "title": "Forbidden"}]})
    busy = Answer(429, {"errors": [{"status": "429", "title": "Too Many Requests"}]})
    logs_max = 1000
    request_max = 5_000_000
    log_max = 1_000_000

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("DD-API-KEY") != self.key or "Authorization" in asked.headers:
            return self.gone
        found = asked.json
        logs = found if isinstance(found, list) else [found]
        if len(asked.body) > self.request_max or len(logs) > self.logs_max:
            return Answer(413, {"errors": [{"status": "413", "title": "Payload Too Large"}]})
        if not all(isinstance(one.get("message"), str) and self.is_wanted(one) for one in logs):
            return Answer(400, {"errors": [{"status": "400", "title": "Bad Request"}]})
        self.taken += [one for one in logs if len(json.dumps(one, ensure_ascii=False)) <= self.log_max]
        return Answer(202, {})


class Graylog(Vendor):
    """A GELF input of Graylog: it answers 202 before it reads the message, and drops what is not one message."""

    format = "gelf"
    path = "/gelf"
    refuses = False
    gone = Answer(401)
    busy = Answer(503)

    def answer(self, asked: Asked) -> Answer:
        if asked.path != self.path or asked.query:
            return Answer(404)  # the comparison is exact: a query is another path
        message = asked.json
        if isinstance(message, dict) and message.get("version") == "1.1" and message.get("short_message"):
            self.taken.append(message)
        return Answer(202)


class Broker(Vendor):
    """A broker of CloudEvents 1.0 that accepts one content mode."""

    format = "cloudevents"
    path = "/events"
    gone = Answer(403)
    busy = Answer(429, "", {"Retry-After": "7"})
    wait = 7.0
    structured, batched = "application/cloudevents+json", "application/cloudevents-batch+json"

    def __init__(self, accepts: Sequence[str] = (structured, batched)) -> None:
        super().__init__()
        self.accepts = accepts

    def answer(self, asked: Asked) -> Answer:
        kind = asked.headers["Content-Type"].partition(";")[0]
        if kind not in self.accepts:
            return Answer(415)
        found = asked.json
        events = found if kind == self.batched else [found if kind == self.structured else _of_headers(asked)]
        is_right = all(
            one.get("specversion") == "1.0" and all(one.get(key) for key in ("id", "source", "type")) for one in events
        )
        if not is_right or not self.is_wanted(asked.body):
            return Answer(400)
        self.taken += events
        return Answer(202)


def _of_headers(asked: Asked) -> Json:
    """Return the event of a request in binary mode."""
    named = {name.lower(): value for name, value in asked.headers.items()}
    return {**{name[3:]: value for name, value in named.items() if name.startswith("ce-")}, "data": asked.json}


class Archive(Vendor):
    """A store of files, each a whole scan, which wants a token."""

    path = "/archive"
    token = "token-of-the-archive"
    keys = {"api_key": token}
    gone = Answer(403)
    busy = Answer(429, "", {"Retry-After": "20"})
    wait = 20.0

    def __init__(self, format: str) -> None:
        super().__init__()
        self.format = format

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("Authorization") != f"Bearer {self.token}":
            return self.gone
        try:
            file = rows_of(asked)
        except ValueError:
            return Answer(400)
        if not self.is_wanted(asked.body):
            return Answer(400)
        self.taken.append(file)
        return Answer(200)


def rows_of(asked: Asked) -> list[Any]:
    """Return the rows of a file, by its content type: lines of JSON, cells of a table by their column, or results.

    Raises:
        ValueError: it is not what its type says.
    """
    kind = asked.headers["Content-Type"].partition(";")[0]
    if kind == "application/x-ndjson":
        *found, end = asked.text.split("\n")
        if end:
            raise ValueError("the last line has no end")
        return [json.loads(line) for line in found]
    if kind == "text/csv":
        return [*csv.DictReader(io.StringIO(asked.text, newline=""), strict=True)]
    if kind == "application/sarif+json":
        (run,) = asked.json["runs"]
        return list(run["results"])
    raise ValueError(f"content type {kind}")


class Collector(Vendor):
    """A collector of lines or of JSON, one event or several in a request, which wants a token. One for the format
    template takes anything."""

    path = "/events"
    token = "token-of-the-collector"
    gone = Answer(401)
    busy = Answer(429, "", {"Retry-After": "20"})
    wait = 20.0

    def __init__(self, format: str) -> None:
        super().__init__()
        self.format = format
        template = {"template": "{{ data | tojson }}"} if format == "template" else {}
        self.keys = {"api_key": self.token, **template}

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("Authorization") != f"Bearer {self.token}":
            return self.gone
        events = self.events(asked)
        if events is None or not self.is_wanted(asked.body):
            return Answer(400)
        self.taken += events
        return Answer(200, {})

    def events(self, asked: Asked) -> list[Any] | None:
        """Return the events in a request, or None if it is not what its content type says."""
        if self.format == "template":
            return [asked.text]
        kind = asked.headers["Content-Type"].partition(";")[0]
        lines = asked.text.split("\n")
        try:
            if kind == "application/x-ndjson":
                return [json.loads(line) for line in lines[:-1]] if lines[-1] == "" else None
            if kind == "text/plain":
                return lines[:-1] if lines[-1] == "" and all(lines[:-1]) else None
            found = asked.json
        except ValueError:
            return None
        return found if isinstance(found, list) else [found]
