"""The web room: requests of people and programs come in over HTTP; pages and an API of the outbox and settings go out.

`app` has the routes of `api/`, `server` listens, `guard` and `access` decide what may come in; `page/` is the page.
"""
