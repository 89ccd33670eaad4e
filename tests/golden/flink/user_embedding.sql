CREATE TEMPORARY TABLE `user_embedding` (
  `visitor_id` STRING NOT NULL,
  `model_version` STRING NOT NULL,
  `vector` BYTES,
  `history` BYTES NOT NULL,
  `unknown_items` BIGINT NOT NULL,
  `updates` BIGINT NOT NULL
);

-- as a value
ROW<`visitor_id` STRING, `model_version` STRING, `vector` BYTES, `history` BYTES, `unknown_items` BIGINT, `updates` BIGINT>
