-- Nothing reads it any more: the index of step 11 (decision 350, withdrawn).
DROP INDEX IF EXISTS examples_by_policy;
