"""The outbox on PostgreSQL: a `Dsn` comes in, a `Server` goes out, which the parts of an `Outbox` use like a file.

`dialect` translates the statements, `schema` has the tables.
"""
