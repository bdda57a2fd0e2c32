"""A real scan without internet: a fictional company, its certificates, and a home for a real SpiderFoot.

`site` serves the fictional domain as an HTTP proxy (its content is in `company`, `web` and `documents`), `scanner`
prepares the SpiderFoot that crawls it, `certificates` makes a certificate authority for mutual TLS. The demo command
and the tests with the real scanner use all three.
"""
