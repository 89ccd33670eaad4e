CREATE TEMPORARY TABLE `customers` (
  `customer_id` STRING NOT NULL,
  `source` STRING NOT NULL,
  `given_name` STRING,
  `family_name` STRING,
  `birth_date` STRING,
  `street_address` STRING,
  `extended_address` STRING,
  `locality` STRING,
  `postal_code` STRING,
  `region` STRING,
  `country` STRING,
  `email_hash` STRING,
  `phone_hash` STRING,
  `updated_ms` BIGINT NOT NULL
);

-- as a value
ROW<`customer_id` STRING, `source` STRING, `given_name` STRING, `family_name` STRING, `birth_date` STRING, `street_address` STRING, `extended_address` STRING, `locality` STRING, `postal_code` STRING, `region` STRING, `country` STRING, `email_hash` STRING, `phone_hash` STRING, `updated_ms` BIGINT>
