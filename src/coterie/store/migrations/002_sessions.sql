-- Sessions by tenant, with the lines of their context.
CREATE TABLE sessions (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    used REAL NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX sessions_by_use ON sessions (used);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    session TEXT NOT NULL,
    time REAL NOT NULL,
    producer TEXT NOT NULL,
    label TEXT NOT NULL,
    kind TEXT NOT NULL,
    content TEXT NOT NULL,
    FOREIGN KEY (tenant, session) REFERENCES sessions (tenant, id) ON DELETE CASCADE
);
CREATE INDEX entries_by_session ON entries (tenant, session, id);
