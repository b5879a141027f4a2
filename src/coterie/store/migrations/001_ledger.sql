-- One row a settled request, its steps, its trace. Money is a decimal number as text; NULL is unknown.
CREATE TABLE requests (
    id TEXT PRIMARY KEY NOT NULL,
    time REAL NOT NULL,
    tenant TEXT NOT NULL,
    session TEXT,
    label TEXT NOT NULL,
    status TEXT NOT NULL,
    tokens_in INTEGER NOT NULL,
    tokens_out INTEGER NOT NULL,
    milliseconds REAL NOT NULL,
    cpu_seconds REAL NOT NULL,
    joules REAL NOT NULL,
    joules_kind TEXT NOT NULL,
    cost TEXT,
    counterfactual_cost TEXT
);
CREATE INDEX requests_by_time ON requests (time);
CREATE TABLE steps (
    request TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    producer TEXT NOT NULL,
    engine TEXT NOT NULL,
    tokens_in INTEGER NOT NULL,
    tokens_out INTEGER NOT NULL,
    milliseconds REAL NOT NULL,
    cpu_seconds REAL NOT NULL,
    joules REAL NOT NULL,
    joules_kind TEXT NOT NULL,
    cost TEXT,
    PRIMARY KEY (request, position)
) WITHOUT ROWID;
CREATE TABLE traces (
    request TEXT PRIMARY KEY NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    trace TEXT NOT NULL
);
