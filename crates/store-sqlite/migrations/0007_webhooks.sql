-- What signs a proxy function's webhooks, sealed; and the secret before it, which signs beside it for a
-- while. NULL for functions that call none, and for those from before there were secrets.
ALTER TABLE functions ADD COLUMN webhook_secret BLOB;
ALTER TABLE functions ADD COLUMN webhook_secret_before BLOB;
ALTER TABLE functions ADD COLUMN webhook_secret_before_until INTEGER;
-- Why a subscription is passed over; NULL for one that runs.
ALTER TABLE subscribers ADD COLUMN inactive TEXT;
