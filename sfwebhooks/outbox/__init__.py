"""The outbox: one SQLite file with every accepted event and its deliveries, shared by all processes.

Events come in with the endpoints that want them (`admission`), batches go out to be sent (`claim`), and results are
settled (`queue`). `scan_end` accepts one end per scan. `listing` and `retention` serve the commands; `file`, `schema`,
`series` and `permissions` maintain the file itself, and `locks` determines which process sends.
"""
