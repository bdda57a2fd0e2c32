"""The receiving side, as a team's receiver has it: a request comes in, and what is wrong with it goes out.

`server` takes requests, `capture` reads saved ones, `diagnosis` explains a signature that does not verify, and
`completeness` says whether every message of a scan has arrived.
"""
