spark-submit \
  --master spark://spark.example:7077 \
  --name 'dovetail check' \
  --driver-memory 4g \
  --deploy-mode client \
  --executor-memory 8g \
  --executor-cores 4 \
  --total-executor-cores 16 \
  --conf spark.pyspark.driver.python=python3 \
  --conf spark.pyspark.python=python3 \
  --jars build/jars/delta/delta-spark.jar,build/jars/delta/unitycatalog-client.jar \
  --py-files dist/dovetail.zip \
  jobs/check.py \
  --lake /srv/dovetail/lake \
  --cut 2026-11-20T00:00:00Z \
  --days 2 \
  --most-quarantined 0.3
