CREATE TEMPORARY TABLE `runs` (
  `run_id` STRING NOT NULL,
  `job` STRING NOT NULL,
  `arguments` STRING NOT NULL,
  `reads` MAP<STRING, BIGINT> NOT NULL,
  `writes` MAP<STRING, BIGINT> NOT NULL,
  `counts` STRING NOT NULL,
  `started_ms` BIGINT NOT NULL,
  `seconds` DOUBLE NOT NULL,
  `outcome` STRING NOT NULL
);

-- as a value
ROW<`run_id` STRING, `job` STRING, `arguments` STRING, `reads` MAP<STRING, BIGINT>, `writes` MAP<STRING, BIGINT>, `counts` STRING, `started_ms` BIGINT, `seconds` DOUBLE, `outcome` STRING>
