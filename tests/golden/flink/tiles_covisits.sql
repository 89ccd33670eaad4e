CREATE TEMPORARY TABLE `tiles_covisits` (
  `previous_item_id` STRING NOT NULL,
  `tile_start` BIGINT NOT NULL,
  `dim` STRING NOT NULL,
  `n` BIGINT NOT NULL,
  `mass` BIGINT NOT NULL
);

-- as a value
ROW<`previous_item_id` STRING, `tile_start` BIGINT, `dim` STRING, `n` BIGINT, `mass` BIGINT>
