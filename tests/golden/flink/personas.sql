CREATE TEMPORARY TABLE `personas` (
  `segment_id` INT NOT NULL,
  `cut_ms` BIGINT NOT NULL,
  `segment` STRING NOT NULL,
  `size` BIGINT NOT NULL,
  `card` STRING NOT NULL
);

-- as a value
ROW<`segment_id` INT, `cut_ms` BIGINT, `segment` STRING, `size` BIGINT, `card` STRING>
