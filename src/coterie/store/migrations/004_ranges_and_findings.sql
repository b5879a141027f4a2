-- Remembered tokens and the range of an estimate; who found what, as figures, so that a report reads no trace.
ALTER TABLE requests ADD COLUMN tokens_cached INTEGER NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN joules_low REAL;
ALTER TABLE requests ADD COLUMN joules_high REAL;
ALTER TABLE steps ADD COLUMN tokens_cached INTEGER NOT NULL DEFAULT 0;
ALTER TABLE steps ADD COLUMN joules_low REAL;
ALTER TABLE steps ADD COLUMN joules_high REAL;
CREATE TABLE findings (
    request TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    specialist TEXT NOT NULL,
    accepted INTEGER NOT NULL,
    confidence REAL NOT NULL,
    PRIMARY KEY (request, position)
) WITHOUT ROWID;
