"""What `sfwebhooks doctor` looks at: an Installation comes in, a Report for each thing that was looked at goes out.

`examination` has the registry of the checks and runs them, each within a limit of time. The checks are in `host`,
`configuration`, `storage` and `sending`; `sfwebhooks check` uses parts of them.
"""
