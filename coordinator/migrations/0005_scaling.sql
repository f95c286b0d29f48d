-- How the number of a supervisor's tasks follows its lag, and when it last did; task_count is the number in force.
ALTER TABLE supervisors ADD COLUMN scaling TEXT;
ALTER TABLE supervisors ADD COLUMN scaled_ms BIGINT;
