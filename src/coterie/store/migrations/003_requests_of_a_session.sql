-- A session's requests are found by it, so that erasing it need not read the whole ledger.
CREATE INDEX requests_by_session ON requests (tenant, session) WHERE session IS NOT NULL;
