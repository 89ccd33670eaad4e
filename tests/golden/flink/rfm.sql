CREATE TEMPORARY TABLE `rfm` (
  `visitor_id` STRING NOT NULL,
  `cut_ms` BIGINT NOT NULL,
  `recency_days` INT NOT NULL,
  `frequency` BIGINT NOT NULL,
  `monetary` DECIMAL(38, 4) NOT NULL,
  `refunded` DECIMAL(38, 4) NOT NULL,
  `net` DECIMAL(38, 4) NOT NULL,
  `last_purchase` BIGINT NOT NULL,
  `r_score` INT NOT NULL,
  `f_score` INT NOT NULL,
  `m_score` INT NOT NULL
);

-- as a value
ROW<`visitor_id` STRING, `cut_ms` BIGINT, `recency_days` INT, `frequency` BIGINT, `monetary` DECIMAL(38, 4), `refunded` DECIMAL(38, 4), `net` DECIMAL(38, 4), `last_purchase` BIGINT, `r_score` INT, `f_score` INT, `m_score` INT>
