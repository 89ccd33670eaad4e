CREATE TEMPORARY TABLE `prepared` (
  `name` STRING NOT NULL,
  `row_key` STRING NOT NULL,
  `cut_ms` BIGINT NOT NULL,
  `features` ARRAY<DOUBLE> NOT NULL,
  `label` DOUBLE
);

-- as a value
ROW<`name` STRING, `row_key` STRING, `cut_ms` BIGINT, `features` ARRAY<DOUBLE>, `label` DOUBLE>
