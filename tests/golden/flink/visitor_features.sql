CREATE TEMPORARY TABLE `visitor_features` (
  `visitor_id` STRING NOT NULL,
  `cut_ms` BIGINT NOT NULL,
  `active_days` BIGINT NOT NULL,
  `views` BIGINT NOT NULL,
  `carts` BIGINT NOT NULL,
  `searches` BIGINT NOT NULL,
  `orders` BIGINT NOT NULL,
  `spend` DECIMAL(38, 4) NOT NULL,
  `refunded` DECIMAL(38, 4) NOT NULL,
  `net` DECIMAL(38, 4) NOT NULL,
  `basket_value` DECIMAL(38, 4),
  `basket_units` DOUBLE,
  `sessions` BIGINT NOT NULL,
  `session_ms` BIGINT NOT NULL,
  `category_ms` MAP<STRING, BIGINT> NOT NULL,
  `category_session_ms` MAP<STRING, DOUBLE> NOT NULL,
  `weight` BIGINT NOT NULL,
  `engagement` INT NOT NULL
);

-- as a value
ROW<`visitor_id` STRING, `cut_ms` BIGINT, `active_days` BIGINT, `views` BIGINT, `carts` BIGINT, `searches` BIGINT, `orders` BIGINT, `spend` DECIMAL(38, 4), `refunded` DECIMAL(38, 4), `net` DECIMAL(38, 4), `basket_value` DECIMAL(38, 4), `basket_units` DOUBLE, `sessions` BIGINT, `session_ms` BIGINT, `category_ms` MAP<STRING, BIGINT>, `category_session_ms` MAP<STRING, DOUBLE>, `weight` BIGINT, `engagement` INT>
