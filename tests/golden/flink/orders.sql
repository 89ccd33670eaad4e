CREATE TEMPORARY TABLE `orders` (
  `visitor_id` STRING NOT NULL,
  `order_id` STRING NOT NULL,
  `order_date` DATE NOT NULL,
  `order_month` STRING NOT NULL,
  `lines` BIGINT NOT NULL,
  `units` BIGINT NOT NULL,
  `gross` DECIMAL(38, 4) NOT NULL,
  `refunded` DECIMAL(38, 4) NOT NULL,
  `last_purchase` BIGINT
);

-- as a value
ROW<`visitor_id` STRING, `order_id` STRING, `order_date` DATE, `order_month` STRING, `lines` BIGINT, `units` BIGINT, `gross` DECIMAL(38, 4), `refunded` DECIMAL(38, 4), `last_purchase` BIGINT>
