-- Names and types suit SQLite and PostgreSQL alike. Times are milliseconds since 1970 UTC, documents are JSON text,
-- flags are 0 or 1. `number` orders all writes of segments and pending names.

CREATE TABLE segments (
    id TEXT NOT NULL PRIMARY KEY,
    datasource TEXT NOT NULL,
    start_ms BIGINT NOT NULL,
    end_ms BIGINT NOT NULL,
    version TEXT NOT NULL,
    partition_num BIGINT NOT NULL,
    used BIGINT NOT NULL,
    appended BIGINT NOT NULL,
    number BIGINT NOT NULL,
    meta TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL
);
CREATE INDEX segments_by_chunk ON segments (datasource, start_ms, end_ms, version);
CREATE INDEX segments_by_use ON segments (used, datasource);

-- Names given out and not published yet. `start_ms` and `end_ms` are what was asked for, `segment_*` what was given.
CREATE TABLE pending (
    datasource TEXT NOT NULL,
    sequence TEXT NOT NULL,
    start_ms BIGINT NOT NULL,
    end_ms BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    segment_start_ms BIGINT NOT NULL,
    segment_end_ms BIGINT NOT NULL,
    version TEXT NOT NULL,
    partition_num BIGINT NOT NULL,
    fresh BIGINT NOT NULL,
    number BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (datasource, segment_start_ms, segment_end_ms, version, partition_num)
);
CREATE INDEX pending_by_sequence ON pending (datasource, sequence, start_ms, end_ms, idx);

CREATE TABLE positions (
    supervisor TEXT NOT NULL,
    partition_key TEXT NOT NULL,
    next_offset BIGINT NOT NULL,
    PRIMARY KEY (supervisor, partition_key)
);

CREATE TABLE supervisors (
    id TEXT NOT NULL PRIMARY KEY,
    datasource TEXT NOT NULL,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    document TEXT NOT NULL,
    task_count BIGINT NOT NULL,
    suspended BIGINT NOT NULL,
    terminated BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    launches BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL
);

CREATE TABLE supervisor_history (
    id TEXT NOT NULL,
    revision BIGINT NOT NULL,
    document TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (id, revision)
);

CREATE TABLE tasks (
    id TEXT NOT NULL PRIMARY KEY,
    group_id TEXT NOT NULL,
    datasource TEXT NOT NULL,
    kind TEXT NOT NULL,
    supervisor TEXT,
    record TEXT NOT NULL,
    state TEXT NOT NULL,
    stop TEXT,
    published BIGINT NOT NULL,
    error TEXT,
    report TEXT,
    created_ms BIGINT NOT NULL,
    started_ms BIGINT,
    ended_ms BIGINT
);
CREATE INDEX tasks_by_state ON tasks (state, created_ms);
CREATE INDEX tasks_by_supervisor ON tasks (supervisor, created_ms);
