CREATE TABLE IF NOT EXISTS webhook_logs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    timestamp TEXT NOT NULL,
    event_type TEXT NOT NULL,
    source_ip TEXT,
    payload TEXT NOT NULL,
    processed BOOLEAN DEFAULT FALSE,
    error_message TEXT
)
