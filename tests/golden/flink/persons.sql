CREATE TEMPORARY TABLE `persons` (
  `person_id` STRING NOT NULL,
  `customers` INT NOT NULL,
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
ROW<`person_id` STRING, `customers` INT, `given_name` STRING, `family_name` STRING, `birth_date` STRING, `street_address` STRING, `extended_address` STRING, `locality` STRING, `postal_code` STRING, `region` STRING, `country` STRING, `email_hash` STRING, `phone_hash` STRING, `updated_ms` BIGINT>
