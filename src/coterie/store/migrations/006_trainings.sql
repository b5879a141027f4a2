-- What trainings took: a version's report cannot say it, since the same data give the same version.
CREATE TABLE trainings (
    specialist TEXT NOT NULL,
    version TEXT NOT NULL,
    time REAL NOT NULL,
    seconds REAL NOT NULL,
    cpu_seconds REAL NOT NULL,
    joules REAL NOT NULL,
    joules_kind TEXT NOT NULL,
    cost TEXT
);
