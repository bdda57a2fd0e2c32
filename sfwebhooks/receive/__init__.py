"""The receiving side, as in a team's receiver: a request comes in, and the problems with it go out.

`verification` has `verify`, for every receiver in Python. `server` accepts requests, `head` and `room` limit what they
may take, `checks` says which are verified, `received` is one of them, `request_log` stores them,
`capture` reads saved ones, `diagnosis` explains a signature that does not verify, `completeness` checks whether every
message of a scan has arrived, and `proof` whether what was kept is what was sent.
"""

from sfwebhooks.receive.verification import VerificationError, Verified, verify

__all__ = ["VerificationError", "Verified", "verify"]
