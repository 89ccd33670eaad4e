CREATE TEMPORARY TABLE `segment_lift` (
  `cut_ms` BIGINT NOT NULL,
  `since_ms` BIGINT NOT NULL,
  `segment_id` INT NOT NULL,
  `segment` STRING NOT NULL,
  `members` BIGINT NOT NULL,
  `active` BIGINT NOT NULL,
  `buyers` BIGINT NOT NULL,
  `spend` DECIMAL(38, 4) NOT NULL,
  `activity_lift` DOUBLE,
  `order_lift` DOUBLE
);

-- as a value
ROW<`cut_ms` BIGINT, `since_ms` BIGINT, `segment_id` INT, `segment` STRING, `members` BIGINT, `active` BIGINT, `buyers` BIGINT, `spend` DECIMAL(38, 4), `activity_lift` DOUBLE, `order_lift` DOUBLE>
