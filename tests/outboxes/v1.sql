BEGIN TRANSACTION;
CREATE TABLE attempt (
        delivery_id TEXT NOT NULL,
        at          REAL NOT NULL,
        seconds     REAL NOT NULL,
        status      INTEGER,
        reason      TEXT NOT NULL,
        excerpt     TEXT NOT NULL,
        cause       TEXT NOT NULL
    );
INSERT INTO "attempt" VALUES('574295dc-9e44-57c9-b64e-a6d2b29ea5ab',1795255201.0,0.25,200,'http_200','ok','schedule');
INSERT INTO "attempt" VALUES('0d66f908-2e8f-578c-a8c3-feb736e51aff',1795255201.0,0.25,200,'http_200','ok','schedule');
INSERT INTO "attempt" VALUES('6cff1d36-aade-5394-9800-102b299fba32',1795255201.0,0.25,503,'http_400','ok','schedule');
INSERT INTO "attempt" VALUES('c5ab52ca-0e08-50d8-9e88-677ded321397',1795255201.0,0.25,503,'http_503','ok','schedule');
INSERT INTO "attempt" VALUES('0f2b867b-bc15-5767-80a0-3671ff1af4f3',1795255201.0,0.25,503,'http_401','ok','schedule');
CREATE TABLE delivery (
        number     INTEGER PRIMARY KEY,     -- order of acceptance
        id         TEXT NOT NULL UNIQUE,
        event_id   TEXT NOT NULL,
        endpoint   TEXT NOT NULL,
        name       TEXT NOT NULL,           -- the event name that the endpoint subscribed to
        sequence   INTEGER NOT NULL,
        state      TEXT NOT NULL,           -- waiting, delivered, dead
        attempts   INTEGER NOT NULL DEFAULT 0,
        crashes    INTEGER NOT NULL DEFAULT 0,  -- how often its making killed a process
        due_at     REAL NOT NULL,
        settled_at REAL,
        reason     TEXT NOT NULL DEFAULT ''
    );
INSERT INTO "delivery" VALUES(1,'574295dc-9e44-57c9-b64e-a6d2b29ea5ab','ad86e7ce-4886-5d9d-a48b-7926d5196a50','team','scan_started',1,'delivered',1,0,1795255200.0,1795255201.25,'http_200');
INSERT INTO "delivery" VALUES(2,'0f2b867b-bc15-5767-80a0-3671ff1af4f3','ad86e7ce-4886-5d9d-a48b-7926d5196a50','siem','scan_started',1,'waiting',0,0,1795255200.0,NULL,'http_401');
INSERT INTO "delivery" VALUES(3,'0d66f908-2e8f-578c-a8c3-feb736e51aff','c27a573c-1053-5ddb-a4b8-0bc45504a942','team','high_risk_event',2,'delivered',1,0,1795255200.0,1795255201.25,'http_200');
INSERT INTO "delivery" VALUES(4,'75e8af2c-e73e-598c-b0cd-0420339166c7','c27a573c-1053-5ddb-a4b8-0bc45504a942','siem','high_risk_event',2,'waiting',0,0,1795255200.0,NULL,'');
INSERT INTO "delivery" VALUES(5,'6cff1d36-aade-5394-9800-102b299fba32','f6da02d3-85e4-58ea-a834-e7f76cae8766','team','high_risk_event',3,'dead',1,0,1795255200.0,1795255201.25,'http_400');
INSERT INTO "delivery" VALUES(6,'d5047440-a78f-5f9f-b919-6ef291e98002','f6da02d3-85e4-58ea-a834-e7f76cae8766','siem','high_risk_event',3,'waiting',0,0,1795255200.0,NULL,'');
INSERT INTO "delivery" VALUES(7,'c5ab52ca-0e08-50d8-9e88-677ded321397','3a9d44b4-52a5-5d20-9320-aec31e846bd8','team','high_risk_event',4,'waiting',1,0,1795255260.0,NULL,'http_503');
INSERT INTO "delivery" VALUES(8,'3a4c619d-55de-5d9a-94c1-5e0e920434de','3a9d44b4-52a5-5d20-9320-aec31e846bd8','siem','high_risk_event',4,'waiting',0,0,1795255200.0,NULL,'');
INSERT INTO "delivery" VALUES(9,'6444ec5e-a57a-567c-8065-b86d323f12c7','c4b1cf42-01dd-5181-92c9-c19077893a06','team','high_risk_event',5,'waiting',0,0,1795255200.0,NULL,'');
INSERT INTO "delivery" VALUES(10,'ff271589-05f2-573e-9f5a-d29b55172842','c4b1cf42-01dd-5181-92c9-c19077893a06','siem','high_risk_event',5,'waiting',0,0,1795255200.0,NULL,'');
INSERT INTO "delivery" VALUES(11,'93bfc19c-5a00-5d78-b46b-61e7f29a5805','918537c3-d5c5-5cdc-8f25-220f65bc2938','team','high_risk_event',6,'waiting',0,0,1795255200.0,NULL,'');
INSERT INTO "delivery" VALUES(12,'952bab28-afdf-5f06-bc2d-efd93365fed0','918537c3-d5c5-5cdc-8f25-220f65bc2938','siem','high_risk_event',6,'waiting',0,0,1795255200.0,NULL,'');
INSERT INTO "delivery" VALUES(13,'226d35a5-66be-5f15-bd8d-12803766bbcc','9ac8e53c-dafe-5493-8752-9683e1b70478','team','high_risk_event',7,'waiting',0,0,1795255200.0,NULL,'');
INSERT INTO "delivery" VALUES(14,'52af029b-aec6-561e-b9b4-e5487271cc00','9ac8e53c-dafe-5493-8752-9683e1b70478','siem','high_risk_event',7,'waiting',0,0,1795255200.0,NULL,'');
CREATE TABLE event (
        id       TEXT PRIMARY KEY,
        scan_id  TEXT,
        type     TEXT NOT NULL,
        severity INTEGER NOT NULL,
        special  TEXT,
        at       REAL NOT NULL,
        data     TEXT NOT NULL      -- JSON
    ) WITHOUT ROWID;
INSERT INTO "event" VALUES('3a9d44b4-52a5-5d20-9320-aec31e846bd8','5C4A0001','high_risk_event',3,NULL,1795255200.0,'{"event_type": "VULNERABILITY_CVE_HIGH", "data": "CVE-2026-0003"}');
INSERT INTO "event" VALUES('918537c3-d5c5-5cdc-8f25-220f65bc2938','5C4A0001','high_risk_event',3,NULL,1795255200.0,'{"event_type": "VULNERABILITY_CVE_HIGH", "data": "CVE-2026-0005"}');
INSERT INTO "event" VALUES('9ac8e53c-dafe-5493-8752-9683e1b70478','5C4A0001','high_risk_event',3,NULL,1795255200.0,'{"event_type": "VULNERABILITY_CVE_HIGH", "data": "CVE-2026-0006"}');
INSERT INTO "event" VALUES('ad86e7ce-4886-5d9d-a48b-7926d5196a50','5C4A0001','scan_started',0,NULL,1.79552763525049209592e+09,'{"scan_id": "5C4A0001", "target": "acme.example", "target_type": "INTERNET_NAME", "status": "STARTED"}');
INSERT INTO "event" VALUES('c27a573c-1053-5ddb-a4b8-0bc45504a942','5C4A0001','high_risk_event',3,NULL,1795255200.0,'{"event_type": "VULNERABILITY_CVE_HIGH", "data": "CVE-2026-0001"}');
INSERT INTO "event" VALUES('c4b1cf42-01dd-5181-92c9-c19077893a06','5C4A0001','high_risk_event',3,NULL,1795255200.0,'{"event_type": "VULNERABILITY_CVE_HIGH", "data": "CVE-2026-0004"}');
INSERT INTO "event" VALUES('f6da02d3-85e4-58ea-a834-e7f76cae8766','5C4A0001','high_risk_event',3,NULL,1795255200.0,'{"event_type": "VULNERABILITY_CVE_HIGH", "data": "CVE-2026-0002"}');
CREATE TABLE health (
        endpoint    TEXT PRIMARY KEY,
        condition   TEXT NOT NULL,
        reason      TEXT NOT NULL,
        since       REAL NOT NULL,
        failures    INTEGER NOT NULL,
        open_at     REAL NOT NULL,
        probes      INTEGER NOT NULL,
        fingerprint TEXT NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "health" VALUES('siem','held','http_401',1795255200.0,1,1795255230.0,0,'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff');
CREATE TABLE scan (
        id          TEXT PRIMARY KEY,
        name        TEXT NOT NULL,
        target      TEXT NOT NULL,
        target_type TEXT NOT NULL,
        version     TEXT NOT NULL,
        database    TEXT NOT NULL,  -- the host's database that holds it
        begun_at    REAL NOT NULL,
        ended       TEXT            -- name of the event that told its end
    ) WITHOUT ROWID;
INSERT INTO "scan" VALUES('5C4A0001','Weekly Security Scan','acme.example','INTERNET_NAME','4.4.0','/nonexistent/spiderfoot.db',1795255200.0,NULL);
CREATE TABLE sequence (
        scan_id  TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        last     INTEGER NOT NULL,
        PRIMARY KEY (scan_id, endpoint)
    ) WITHOUT ROWID;
INSERT INTO "sequence" VALUES('5C4A0001','siem',7);
INSERT INTO "sequence" VALUES('5C4A0001','team',7);
CREATE INDEX delivery_fresh ON delivery (endpoint, due_at, number) WHERE state = 'waiting' AND attempts = 0;
CREATE INDEX delivery_late ON delivery (endpoint, due_at) WHERE state = 'waiting' AND attempts > 0;
CREATE INDEX delivery_event ON delivery (event_id);
CREATE INDEX event_scan ON event (scan_id);
CREATE INDEX attempt_delivery ON attempt (delivery_id);
COMMIT;
PRAGMA user_version = 1;
