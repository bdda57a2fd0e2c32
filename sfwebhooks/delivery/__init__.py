"""Delivery: waiting deliveries come in from the outbox, attempts go out, and their results are settled.

`dispatcher` has one `send_queue` per URL, which claims and sends; `settling` writes the results, its threads are
`workers`, `pace` is its rate, and `ownership` ensures that no other process sends to the same URL. `log` has a line for
each attempt, `status` explains why a delivery waits, `alerts` reports trouble, `proving` makes statements about scans,
`maintenance` expires and prunes, and `background` calls all of these once a second.
"""
