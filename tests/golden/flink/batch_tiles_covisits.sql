CREATE TEMPORARY TABLE `batch_tiles_covisits` (
  `slice` STRING NOT NULL,
  `span` STRING NOT NULL,
  `previous_item_id` STRING NOT NULL,
  `tile_start` BIGINT NOT NULL,
  `dim` STRING NOT NULL,
  `n` BIGINT NOT NULL,
  `mass` BIGINT NOT NULL
);

-- as a value
ROW<`slice` STRING, `span` STRING, `previous_item_id` STRING, `tile_start` BIGINT, `dim` STRING, `n` BIGINT, `mass` BIGINT>
