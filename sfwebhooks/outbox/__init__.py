"""The outbox: one SQLite file with every accepted event and its deliveries, shared by all processes.

Events come in with the endpoints that want them (`admission`), batches go out to be sent (`claim`), and results are
settled (`queue`). `scan_end` accepts one end per scan. An `Outbox` has one `file` and parts that use it: `queue`, `due`
and `endpoint_state` for senders, `scans` for scans, `listing` and `retention` for commands. `statistics` counts for
`sfwebhooks stats`, `totals` for metrics. `schema`, `erasure`, `sequence_numbers`, `permissions` and `soundness`
maintain the file, and `locks` determines which process sends. The rooms above know it as a `store`.
"""
