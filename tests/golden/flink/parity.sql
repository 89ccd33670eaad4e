CREATE TEMPORARY TABLE `parity` (
  `run_id` STRING NOT NULL,
  `cut_ms` BIGINT NOT NULL,
  `generation` STRING NOT NULL,
  `subject` STRING NOT NULL,
  `feature` STRING NOT NULL,
  `compared` BIGINT NOT NULL,
  `equal` BIGINT NOT NULL,
  `missing_in_speed` BIGINT NOT NULL,
  `missing_in_batch` BIGINT NOT NULL,
  `differing` BIGINT NOT NULL,
  `largest_difference` DOUBLE NOT NULL,
  `passed` BOOLEAN NOT NULL
);

-- as a value
ROW<`run_id` STRING, `cut_ms` BIGINT, `generation` STRING, `subject` STRING, `feature` STRING, `compared` BIGINT, `equal` BIGINT, `missing_in_speed` BIGINT, `missing_in_batch` BIGINT, `differing` BIGINT, `largest_difference` DOUBLE, `passed` BOOLEAN>
