"""Inside SpiderFoot: `install` puts `shim` into its modules folder, and `shim` loads `plugin` from here.

`attach` wraps the host's start of a scan, so that a scan's begin and end are seen; `risks` reads the risk that modules
give an event.
"""
