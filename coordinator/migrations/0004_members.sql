-- Nodes that were heard of and are not lost: a new leader waits for them. `member` is what each tells of itself.
CREATE TABLE members (
    node TEXT NOT NULL PRIMARY KEY,
    member TEXT NOT NULL,
    changed_ms BIGINT NOT NULL
);

-- The node that a task was given to last, and how often it was given to one.
ALTER TABLE tasks ADD COLUMN node TEXT;
ALTER TABLE tasks ADD COLUMN attempt BIGINT NOT NULL DEFAULT 0;

-- Who stands by reads documents by what has changed, and deletions must be among that.
CREATE TABLE deleted_documents (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE INDEX documents_by_version ON documents (version);
CREATE INDEX deleted_documents_by_version ON deleted_documents (version);
