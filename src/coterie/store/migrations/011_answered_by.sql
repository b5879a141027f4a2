-- What a deployment answered itself, which its gate reads beside its comparisons.
CREATE INDEX examples_by_policy ON examples (job, policy, time, id, confidence);
