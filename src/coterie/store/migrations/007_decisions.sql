-- Who answered which typed question. Cost and joules are an equal share of the request's; NULL is unknown.
CREATE TABLE decisions (
    request TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    site TEXT NOT NULL,
    answered_by TEXT NOT NULL,
    method TEXT NOT NULL,
    accepted INTEGER NOT NULL,
    confidence REAL NOT NULL,
    joules REAL NOT NULL,
    cost TEXT,
    PRIMARY KEY (request, position)
) WITHOUT ROWID;
CREATE INDEX decisions_by_site ON decisions (site);
