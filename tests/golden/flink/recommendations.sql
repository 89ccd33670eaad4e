CREATE TEMPORARY TABLE `recommendations` (
  `visitor_id` STRING NOT NULL,
  `cut_ms` BIGINT NOT NULL,
  `model_version` STRING NOT NULL,
  `recommendations` BYTES NOT NULL
);

-- as a value
ROW<`visitor_id` STRING, `cut_ms` BIGINT, `model_version` STRING, `recommendations` BYTES>
