CREATE TEMPORARY TABLE `batch_tiles_popularity` (
  `span` STRING NOT NULL,
  `item_id` STRING NOT NULL,
  `tile_start` BIGINT NOT NULL,
  `n` BIGINT NOT NULL,
  `mass` BIGINT NOT NULL,
  `purchases` BIGINT NOT NULL
);

-- as a value
ROW<`span` STRING, `item_id` STRING, `tile_start` BIGINT, `n` BIGINT, `mass` BIGINT, `purchases` BIGINT>
