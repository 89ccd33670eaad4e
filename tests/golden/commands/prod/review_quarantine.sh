spark-submit \
  --master spark://spark.example:7077 \
  --name 'dovetail review_quarantine' \
  --driver-memory 4g \
  --deploy-mode client \
  --executor-memory 8g \
  --executor-cores 4 \
  --total-executor-cores 16 \
  --conf spark.pyspark.driver.python=python3 \
  --conf spark.pyspark.python=python3 \
  --jars build/jars/delta/delta-spark.jar,build/jars/delta/unitycatalog-client.jar \
  --py-files dist/dovetail.zip \
  jobs/review_quarantine.py \
  --lake /srv/dovetail/lake \
  --decision discard \
  --rules country_is_known \
  --by anna \
  --why 'A test shop.'
