"""Delivery: waiting deliveries come in from the outbox, attempts go out, and their results are settled.

`dispatcher` has one `send_queue` per URL, which claims, sends and settles; its threads are `workers`, `pace` is its
rate, and `ownership` ensures that no other process sends to the same URL. `log` has a line for each attempt, `status`
explains why a delivery waits, `alerts` reports trouble, `maintenance` expires and prunes, and `background` calls all
of these once a second.
"""
