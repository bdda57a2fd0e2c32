"""Inspection: settings and outbox come in; their state goes out in words, and as fields for JSON.

`cli`, `terminal` and `doctor` print it, and decide nothing of their own.
"""
