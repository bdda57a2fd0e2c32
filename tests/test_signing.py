from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from sfwebhooks.endpoints import Secret
from sfwebhooks.events import Batch
from sfwebhooks.formats.content import Content
from sfwebhooks.receive.verification import signature_problems
from sfwebhooks.signatures import guide_signature, standard_signature
from sfwebhooks.signing import Request, sign
from sfwebhooks.signing_keys import receiver_form
from tests.builders import NOW, URL, a_batch, a_delivery, an_endpoint, an_event

# the vector that the libraries of Standard Webhooks test themselves with
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
STAMP = "1614265330"
PAYLOAD = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

# v1a: the pair and the signature of Svix's server (svix-webhooks, server/svix-server/src/worker.rs,
# test_asymmetric_key_signing), whose signature is also the example in the specification ("Webhook headers"), ...
WHSK = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
WHPK = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
SIGNATURE_V1A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
# ... and the seed and signature of the specification's Go library (libraries/go/webhook_asymmetric_test.go)
SEED_ALONE = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="
SIGNATURE_SEED = "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="

CONTENT = Content('{"a":"grüß \U0001f600"}'.encode())
#: the secrets of people: short, long, with everything in them, and one that only looks like base64
PLAIN = ["s", "your-webhook-secret", "grüß-密码", "a b=c:d#e;f%g", "x" * 500, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]


def request(*secrets: str, at: float = NOW, **values: Any) -> Request:
    return sign(CONTENT, a_batch(), an_endpoint(secrets=secrets, **values), at)


def by_library(form: str, *secrets: str) -> object:
    """Let the library `standardwebhooks`, which looks at the real clock, verify a request that was just signed."""
    sent = request(*secrets, at=time.time())
    return Webhook(form).verify(sent.body, {name.lower(): value for name, value in sent.headers.items()})


# --- known answers


def test_the_published_vector_of_standard_webhooks() -> None:
    assert standard_signature(WHSEC, MESSAGE_ID, STAMP, PAYLOAD) == SIGNATURE


@pytest.mark.parametrize(("secret", "signature"), [(WHSK, SIGNATURE_V1A), (SEED_ALONE, SIGNATURE_SEED)])
def test_the_published_vectors_of_v1a(secret: str, signature: str) -> None:
    assert standard_signature(secret, MESSAGE_ID, STAMP, PAYLOAD) == signature


@pytest.mark.parametrize("key", [WHPK, WHSK])
def test_the_published_v1a_signature_is_verified(key: str) -> None:
    headers = {"webhook-id": MESSAGE_ID, "webhook-timestamp": STAMP, "webhook-signature": SIGNATURE_V1A}
    assert signature_problems(headers, PAYLOAD, [key], float(STAMP)) == []


def test_a_plain_secret_is_the_key_itself() -> None:
    key = base64.b64encode(b"your-webhook-secret").decode()
    plain = standard_signature("your-webhook-secret", MESSAGE_ID, STAMP, PAYLOAD)
    assert plain == standard_signature("whsec_" + key, MESSAGE_ID, STAMP, PAYLOAD)


def test_the_vector_of_rfc_4231_for_the_guides_signature() -> None:
    digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"  # section 4.3
    assert guide_signature("Jefe", b"what do ya want for nothing?") == f"sha256={digest}"


@pytest.mark.parametrize("secret", [*PLAIN, WHSEC])
def test_the_guides_receiver_accepts_the_guides_signature(secret: str) -> None:
    sent = request(secret)
    given = sent.headers["X-SpiderFoot-Signature"]
    # as in the guide: the text of the body, the secret as it was configured, the prefix taken off
    expected = hmac.new(secret.encode("utf-8"), sent.body.decode().encode("utf-8"), hashlib.sha256).hexdigest()
    assert hmac.compare_digest(expected, given[7:] if given.startswith("sha256=") else given)


# --- the library of Standard Webhooks


def test_the_library_verifies_a_whsec_secret() -> None:
    assert by_library(WHSEC, WHSEC) == json.loads(CONTENT.body)


@pytest.mark.parametrize("secret", PLAIN)
def test_the_library_verifies_a_plain_secret_in_its_receiver_form(secret: str) -> None:
    assert by_library(receiver_form(secret), secret) == json.loads(CONTENT.body)


@pytest.mark.parametrize("known", [WHSEC, "old-secret"])
def test_while_rotating_the_library_verifies_with_either_secret(known: str) -> None:
    assert by_library(receiver_form(known), WHSEC, "old-secret")


def test_the_library_refuses_another_secret() -> None:
    with pytest.raises(WebhookVerificationError):
        by_library(receiver_form("other-secret"), WHSEC)


def test_the_receiver_form_of_a_whsec_secret_is_itself() -> None:
    assert receiver_form(WHSEC) == WHSEC


# --- what goes out


def test_the_signed_bytes_are_the_sent_bytes() -> None:
    assert request("s").body is CONTENT.body


def test_each_message_says_what_it_is() -> None:
    delivery = a_delivery()
    headers = request("s").headers
    assert {name: headers[name] for name in headers if name.lower().startswith(("x-spiderfoot-", "webhook-"))} == {
        "X-SpiderFoot-Event": "high_risk_event",
        "X-SpiderFoot-Delivery": delivery.id,
        "X-SpiderFoot-Timestamp": "1795255200",
        "X-SpiderFoot-Signature": guide_signature("s", CONTENT.body),
        "webhook-id": delivery.id,
        "webhook-timestamp": "1795255200",
        "webhook-signature": standard_signature("s", delivery.id, "1795255200", CONTENT.body),
    }


def test_each_message_by_the_security_audit_guide_says_what_it_is() -> None:
    delivery = a_delivery(an_event(type="scan_completed"), replayed=True)
    headers = sign(CONTENT, Batch((delivery,)), an_endpoint(secrets=["s"], format="security-audit"), NOW).headers
    assert {name: headers[name] for name in headers if name.lower().startswith(("x-", "webhook-"))} == {
        "X-Security-Event": "scan.completed",
        "X-Security-Delivery": delivery.id,
        "X-Security-Timestamp": "1795255200",
        "X-Security-Replay": "true",
        "X-Security-Signature": guide_signature("s", CONTENT.body),
        "webhook-id": delivery.id,
        "webhook-timestamp": "1795255200",
        "webhook-signature": standard_signature("s", delivery.id, "1795255200", CONTENT.body),
    }


def test_the_time_is_sent_in_whole_seconds_that_are_over() -> None:
    sent = sign(CONTENT, a_batch(), an_endpoint(), NOW + 0.999)
    assert sent.headers["webhook-timestamp"] == "1795255200"


def test_the_first_of_several_secrets_makes_the_guides_signature() -> None:
    assert request("new", "old").headers["X-SpiderFoot-Signature"] == guide_signature("new", CONTENT.body)


def test_several_secrets_make_one_standard_signature_each_in_order() -> None:
    one, other = request("new").headers, request("old").headers
    both = f"{one['webhook-signature']} {other['webhook-signature']}"
    assert request("new", "old").headers["webhook-signature"] == both


@pytest.mark.parametrize("secret", [WHSK, SEED_ALONE])
def test_a_whsk_secret_alone_makes_no_guides_signature(secret: str) -> None:
    headers = request(secret).headers
    assert "X-SpiderFoot-Signature" not in headers
    assert headers["webhook-signature"].startswith("v1a,")


@pytest.mark.parametrize("secrets", [(WHSK, "text"), ("text", WHSK), (WHSK, SEED_ALONE, "text", "old")])
def test_the_first_other_secret_with_a_whsk_makes_the_guides_signature(secrets: tuple[str, ...]) -> None:
    assert request(*secrets).headers["X-SpiderFoot-Signature"] == guide_signature("text", CONTENT.body)


def test_secrets_of_all_kinds_make_one_signature_each_in_order() -> None:
    kinds = (WHSEC, WHSK, "text", SEED_ALONE)
    each = [request(one).headers["webhook-signature"] for one in kinds]
    assert [one.partition(",")[0] for one in each] == ["v1", "v1a", "v1", "v1a"]
    assert request(*kinds).headers["webhook-signature"] == " ".join(each)


def test_the_library_verifies_v1_with_v1a() -> None:
    assert by_library(WHSEC, WHSK, WHSEC) == json.loads(CONTENT.body)


def test_without_a_secret_nothing_is_signed_but_the_id_is_sent() -> None:
    headers = request().headers
    assert "webhook-id" in headers
    assert not {"X-SpiderFoot-Signature", "webhook-signature"} & headers.keys()


def test_a_retry_has_the_same_id_and_a_new_signature() -> None:
    first, later = (sign(CONTENT, a_batch(), an_endpoint(secrets=["s"]), at) for at in (NOW, NOW + 60))
    assert first.headers["webhook-id"] == later.headers["webhook-id"]
    assert first.headers["webhook-signature"] != later.headers["webhook-signature"]


def test_extra_headers_and_the_key_go_along() -> None:
    headers = request(headers={"X-Team": Secret("blue")}, api_key=Secret("k")).headers
    assert (headers["X-Team"], headers["Authorization"]) == ("blue", "Bearer k")


def test_the_content_says_its_own_type() -> None:
    assert request().headers["Content-Type"] == "application/json"


def test_the_url_is_the_endpoints_own_byte_for_byte() -> None:
    assert request().url.reveal() == URL
