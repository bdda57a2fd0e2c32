"""Delivery: what waits in the outbox comes in, attempts go out, and their results are settled.

`dispatcher` has one `queue` per URL; its threads are `workers`, `ownership` makes sure that no other process sends to
the same URL, and `settling` writes the results. `status` says why a delivery waits, `alerts` reports trouble, and
`upkeep` expires and prunes.
"""
