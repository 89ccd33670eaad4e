CREATE TEMPORARY TABLE `quarantine_reviews` (
  `topic` STRING NOT NULL,
  `partition` INT NOT NULL,
  `offset` BIGINT NOT NULL,
  `rule` STRING NOT NULL,
  `state` STRING NOT NULL,
  `reviewed_by` STRING,
  `why` STRING,
  `reviewed_ms` BIGINT NOT NULL,
  `run_id` STRING NOT NULL
);

-- as a value
ROW<`topic` STRING, `partition` INT, `offset` BIGINT, `rule` STRING, `state` STRING, `reviewed_by` STRING, `why` STRING, `reviewed_ms` BIGINT, `run_id` STRING>
