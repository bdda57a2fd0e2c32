"""HTTP: a signed request comes in, a Reply goes out, within one deadline and a bounded amount of memory.

`sender` sends over kept connections; `connection` opens them (`route`, `addresses`, `proxy`, `tls`), and `http_reader`
reads the reply.
"""
