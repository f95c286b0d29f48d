-- Documents that the coordinator keeps and gives no meaning: users, roles, sessions and the like, by kind and name.
-- `version` orders all changes of documents, whatever their kind.
CREATE TABLE documents (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    version BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL,
    changed_by TEXT NOT NULL,
    PRIMARY KEY (kind, name)
);

-- What a document was from a version on; no document: it was deleted.
CREATE TABLE document_history (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    document TEXT,
    changed_ms BIGINT NOT NULL,
    changed_by TEXT NOT NULL,
    PRIMARY KEY (kind, name, version)
);
