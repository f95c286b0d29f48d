-- Who holds what, by the clock of the database: leadership of the coordinators, nodes that are alive. `epoch` grows with
-- every taking; rows are never deleted, so that no epoch is used twice.
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    info TEXT NOT NULL
);
