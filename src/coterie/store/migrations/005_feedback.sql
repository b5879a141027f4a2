-- Feedback: the newest of each caller about each finding. `correct` is NULL where nobody says.
CREATE TABLE feedback (
    request TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    specialist TEXT NOT NULL,
    time REAL NOT NULL,
    thumb TEXT,
    value TEXT,
    comment TEXT NOT NULL,
    correct INTEGER,
    PRIMARY KEY (request, key, specialist)
) WITHOUT ROWID;
