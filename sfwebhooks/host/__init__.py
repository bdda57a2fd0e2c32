"""Inside SpiderFoot: `install` puts `shim` into its modules folder, and `shim` loads `plugin` from here.

`around_scan` wraps the host's start of a scan to report its start and end; `risks` watches which event types modules
give a risk.
"""
