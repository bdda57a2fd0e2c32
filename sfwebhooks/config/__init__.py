"""Settings: an INI file, or JSON, comes in; `settings` returns Settings with every endpoint and every mistake.

`file` reads sections and keys into a `draft`, `options` knows all keys, `values` and `lists` parse what they hold,
`endpoint` builds one endpoint, and `contradictions` compares its keys. `samples`, `sections`, `warnings` and
`filter_warnings` recognise placeholders, misspelt names, and risky or doubtful values. `applying` changes an endpoint
by command or by the API, with `editing` and `rewriting`; `exposure` knows what must not be an argument of a command.
"""
