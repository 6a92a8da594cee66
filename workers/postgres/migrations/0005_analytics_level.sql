ALTER TABLE analytics ADD COLUMN level smallint;

COMMENT ON COLUMN analytics.level IS 'what icebergs and flicker are inferred from: 3, single orders; 2, levels and trades; null: stored before it was told';
