"""Golden files: what every format makes of the events of a real scan, in files that people read.

`scan.json` has events of a scan of the demo's company by the real scanner (`recording`); NAME.txt has the requests that
the format NAME makes of them (`rendering`). A change of a message is a change of its file, which is reviewed like code.
"""
