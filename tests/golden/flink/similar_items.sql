CREATE TEMPORARY TABLE `similar_items` (
  `item_id` STRING NOT NULL,
  `source` STRING NOT NULL,
  `near_id` STRING NOT NULL,
  `score` DOUBLE NOT NULL,
  `cut_ms` BIGINT NOT NULL
);

-- as a value
ROW<`item_id` STRING, `source` STRING, `near_id` STRING, `score` DOUBLE, `cut_ms` BIGINT>
