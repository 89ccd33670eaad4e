CREATE TEMPORARY TABLE `segment_moves` (
  `visitor_id` STRING NOT NULL,
  `cut_ms` BIGINT NOT NULL,
  `from_id` INT,
  `from_segment` STRING,
  `to_id` INT,
  `to_segment` STRING
);

-- as a value
ROW<`visitor_id` STRING, `cut_ms` BIGINT, `from_id` INT, `from_segment` STRING, `to_id` INT, `to_segment` STRING>
