-- Captured examples, comparisons of answers, labels, and what is decided about jobs and deployments.
CREATE TABLE examples (
    id TEXT PRIMARY KEY,
    request TEXT NOT NULL,
    time DOUBLE PRECISION NOT NULL,
    tenant TEXT NOT NULL,
    label TEXT NOT NULL,
    api TEXT NOT NULL,
    job TEXT NOT NULL,
    template INTEGER NOT NULL,
    prompt TEXT NOT NULL,
    input TEXT NOT NULL,
    answer TEXT NOT NULL,
    cost DOUBLE PRECISION,
    milliseconds DOUBLE PRECISION NOT NULL,
    failed INTEGER NOT NULL,
    policy TEXT NOT NULL,
    propensity DOUBLE PRECISION NOT NULL,
    confidence DOUBLE PRECISION,
    in_scope DOUBLE PRECISION,
    caller TEXT NOT NULL
);
CREATE INDEX examples_by_job ON examples (job, time, id);
CREATE INDEX examples_by_request ON examples (request);
CREATE INDEX examples_by_time ON examples (time);
CREATE TABLE comparisons (
    deployment TEXT NOT NULL,
    example TEXT NOT NULL,
    time DOUBLE PRECISION NOT NULL,
    answer TEXT NOT NULL,
    confidence DOUBLE PRECISION NOT NULL,
    accepted INTEGER NOT NULL,
    in_scope DOUBLE PRECISION,
    same INTEGER NOT NULL,
    milliseconds DOUBLE PRECISION NOT NULL,
    failed INTEGER NOT NULL,
    PRIMARY KEY (deployment, example)
);
CREATE INDEX comparisons_in_order ON comparisons (deployment, time, example);
CREATE INDEX comparisons_by_example ON comparisons (example);
CREATE TABLE labels (
    example TEXT NOT NULL,
    origin TEXT NOT NULL,
    given_by TEXT NOT NULL,
    value TEXT,
    time DOUBLE PRECISION NOT NULL,
    purpose TEXT NOT NULL,
    PRIMARY KEY (example, origin, given_by)
);
CREATE TABLE trained_on (
    example TEXT NOT NULL,
    specialist TEXT NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (example, specialist, version)
);
CREATE TABLE flywheel_records (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    job TEXT NOT NULL,
    time DOUBLE PRECISION NOT NULL,
    body TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE TABLE flywheel_revision (one INTEGER PRIMARY KEY, revision INTEGER NOT NULL);
INSERT INTO flywheel_revision VALUES (1, 0);
