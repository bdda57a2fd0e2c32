"""Delivery: waiting deliveries come in from the outbox, attempts go out, and their results are settled.

`dispatcher` has one `queue` per URL; its threads are `workers`, `ownership` ensures that no other process sends to the
same URL, and `settling` writes the results. `status` explains why a delivery waits, `alerts` reports trouble, and
`upkeep` expires and prunes.
"""
