"""The receiving side, as in a team's receiver: a request comes in, and the problems with it go out.

`server` accepts requests, `capture` reads saved ones, `diagnosis` explains a signature that does not verify, and
`completeness` checks whether every message of a scan has arrived.
"""
