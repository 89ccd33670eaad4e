CREATE TEMPORARY TABLE `segment_view` (
  `segment_id` INT NOT NULL,
  `segment` STRING NOT NULL,
  `size` BIGINT NOT NULL,
  `centroid` STRING NOT NULL,
  `recommendations` BYTES,
  `model_version` STRING
);

-- as a value
ROW<`segment_id` INT, `segment` STRING, `size` BIGINT, `centroid` STRING, `recommendations` BYTES, `model_version` STRING>
