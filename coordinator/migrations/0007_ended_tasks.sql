-- What takes the place of a task's record when it has ended, where its document is large: it may bring along all its data.
ALTER TABLE tasks ADD COLUMN kept TEXT;
