CREATE TEMPORARY TABLE `segments` (
  `visitor_id` STRING NOT NULL,
  `cut_ms` BIGINT NOT NULL,
  `segment_id` INT NOT NULL,
  `segment` STRING NOT NULL,
  `distance` DOUBLE NOT NULL
);

-- as a value
ROW<`visitor_id` STRING, `cut_ms` BIGINT, `segment_id` INT, `segment` STRING, `distance` DOUBLE>
