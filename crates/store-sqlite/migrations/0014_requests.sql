-- What is known of the request that caused a run; NULL for what the program or a function caused.
ALTER TABLE invocations ADD COLUMN request TEXT;
