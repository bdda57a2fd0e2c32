"""The terminal: a command's arguments come in, settings, selections and texts for people go out.

`arguments` and `filters` read the command line, `output`, `delivery_table` and `progress_bar` print, `stop_signal`
waits for Ctrl-C, and `live_state` is the state of the endpoints for `sfwebhooks status`, `check` and `doctor`. Commands
that change the settings use `asking`, `editing` and `secret_file`.
"""
