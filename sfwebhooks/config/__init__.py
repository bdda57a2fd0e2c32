"""Settings: an INI file, or JSON, comes in; `settings` returns Settings with every endpoint and every mistake.

`file` reads sections and keys into a `draft`, `options` knows all keys, `values` parses what they hold, `endpoint`
builds one endpoint. `samples`, `sections`, `warnings` and `filter_warnings` recognise placeholders, misspelt names, and
risky or doubtful values. `editing` and `rewriting` change an endpoint by command; `exposure` knows what must not be an
argument of one.
"""
