CREATE TEMPORARY TABLE `fills` (
  `table` STRING NOT NULL,
  `column` STRING NOT NULL,
  `row_key` STRING NOT NULL,
  `cut_ms` BIGINT NOT NULL,
  `table_version` BIGINT NOT NULL,
  `value` STRING NOT NULL,
  `method` STRING NOT NULL,
  `parameters` STRING NOT NULL
);

-- as a value
ROW<`table` STRING, `column` STRING, `row_key` STRING, `cut_ms` BIGINT, `table_version` BIGINT, `value` STRING, `method` STRING, `parameters` STRING>
