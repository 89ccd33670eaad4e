CREATE TEMPORARY TABLE `profile` (
  `visitor_id` STRING NOT NULL,
  `cut_ms` BIGINT NOT NULL,
  `features` BYTES NOT NULL,
  `recency_days` INT,
  `frequency` BIGINT,
  `monetary` DECIMAL(38, 4),
  `rfm` STRING,
  `segment_id` INT,
  `segment` STRING,
  `age_band` STRING,
  `sessions` BIGINT NOT NULL,
  `last_items` BYTES,
  `purchased` BYTES,
  `recommendations` BYTES,
  `model_version` STRING
);

-- as a value
ROW<`visitor_id` STRING, `cut_ms` BIGINT, `features` BYTES, `recency_days` INT, `frequency` BIGINT, `monetary` DECIMAL(38, 4), `rfm` STRING, `segment_id` INT, `segment` STRING, `age_band` STRING, `sessions` BIGINT, `last_items` BYTES, `purchased` BYTES, `recommendations` BYTES, `model_version` STRING>
