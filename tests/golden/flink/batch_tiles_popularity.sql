CREATE TEMPORARY TABLE `batch_tiles_popularity` (
  `slice` STRING NOT NULL,
  `span` STRING NOT NULL,
  `item_id` STRING NOT NULL,
  `tile_start` BIGINT NOT NULL,
  `n` BIGINT NOT NULL,
  `mass` BIGINT NOT NULL,
  `purchases` BIGINT NOT NULL
);

-- as a value
ROW<`slice` STRING, `span` STRING, `item_id` STRING, `tile_start` BIGINT, `n` BIGINT, `mass` BIGINT, `purchases` BIGINT>
