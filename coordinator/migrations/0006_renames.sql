-- Names that tasks were told to give up for others: a node may tell of its rows under the old one still when another
-- coordinator leads.
CREATE TABLE renames (
    old_id TEXT NOT NULL PRIMARY KEY,
    new_id TEXT NOT NULL,
    renamed_ms BIGINT NOT NULL
);
