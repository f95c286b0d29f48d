-- How the rules of alerts stand, each under an id of its own, and when its last turn was. The rules themselves are
-- documents.
CREATE TABLE alert_states (
    alert TEXT NOT NULL PRIMARY KEY,
    turn_ms BIGINT NOT NULL,
    state TEXT NOT NULL
);

-- What has changed of how one stands, counted by alert.
CREATE TABLE alert_history (
    alert TEXT NOT NULL,
    number BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (alert, number)
);

-- What of that is to be told to whom. One that is not ended is to be sent; it is written with the change that it tells of.
CREATE TABLE alert_notices (
    alert TEXT NOT NULL,
    number BIGINT NOT NULL,
    channel TEXT NOT NULL,
    document TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    ended_ms BIGINT,
    error TEXT,
    PRIMARY KEY (alert, number, channel)
);
CREATE INDEX alert_notices_to_send ON alert_notices (ended_ms, created_ms);
