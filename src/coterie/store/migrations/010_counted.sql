-- Calls by job and caller, added up as they are written, and the indexes that pages of review are read by.
CREATE TABLE job_callers (
    job TEXT NOT NULL,
    caller TEXT NOT NULL,
    calls INTEGER NOT NULL,
    local INTEGER NOT NULL,
    cost DOUBLE PRECISION NOT NULL,
    unpriced INTEGER NOT NULL,
    PRIMARY KEY (job, caller)
);
INSERT INTO job_callers SELECT job, caller, count(*), sum(CASE WHEN policy LIKE 'model:%' THEN 0 ELSE 1 END), sum(coalesce(cost, 0)), sum(CASE WHEN cost IS NULL THEN 1 ELSE 0 END) FROM examples GROUP BY job, caller;
DROP INDEX comparisons_in_order;
CREATE INDEX comparisons_in_order ON comparisons (deployment, time, example, accepted, failed, same, confidence);
CREATE INDEX comparisons_that_differ ON comparisons (deployment, time, example) WHERE accepted = 1 AND failed = 0 AND same = 0;
CREATE INDEX comparisons_by_confidence ON comparisons (deployment, confidence, example) WHERE accepted = 1 AND failed = 0 AND same = 1;
CREATE INDEX labels_by_time ON labels (time);
CREATE INDEX records_by_time ON flywheel_records (kind, time);
CREATE INDEX feedback_by_time ON feedback (time);
