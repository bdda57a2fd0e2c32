"""The transfer of an outbox file to an outbox on PostgreSQL: a `SourceFile` and a `Target` come in, and the rows go
over in groups, each with its place in one transaction, so that a killed transfer goes on where it was.

`retiring` first takes the file out of use: from then on nothing in it changes, and each row is sent by its new owner
only. `tables` says what is moved, and what becomes of a row that both sides have.
"""
