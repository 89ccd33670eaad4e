CREATE TEMPORARY TABLE `segment_history` (
  `cut_ms` BIGINT NOT NULL,
  `segment_id` INT NOT NULL,
  `segment` STRING NOT NULL,
  `size` BIGINT NOT NULL,
  `recency_days` DOUBLE NOT NULL,
  `frequency` DOUBLE NOT NULL,
  `monetary` DOUBLE NOT NULL,
  `before` STRING
);

-- as a value
ROW<`cut_ms` BIGINT, `segment_id` INT, `segment` STRING, `size` BIGINT, `recency_days` DOUBLE, `frequency` DOUBLE, `monetary` DOUBLE, `before` STRING>
