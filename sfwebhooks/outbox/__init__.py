"""The outbox: one SQLite file, or a database on PostgreSQL (`postgres`), with every accepted event and its deliveries,
shared by all processes.

Events come in with the endpoints that want them (`admission`), batches go out to be sent (`claim`), and results are
settled (`queue`). `scan_end` accepts one end per scan. An `Outbox` has one `database` and parts that use it: `queue`,
`due` and `endpoint_state` for senders, `scans` for scans, `evidence` for their proof, `listing` and `retention` for
commands. `statistics` counts for `sfwebhooks stats`, `totals` for metrics. `schema`, `erasure`, `sequence_numbers`,
`permissions` and `soundness` maintain it, and `locks` determines which process sends. The rooms above know it as a
`store`.
"""
