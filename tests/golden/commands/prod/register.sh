spark-submit \
  --master spark://spark.example:7077 \
  --name 'dovetail register' \
  --driver-memory 2g \
  --deploy-mode client \
  --executor-memory 4g \
  --executor-cores 2 \
  --total-executor-cores 4 \
  --conf spark.pyspark.driver.python=python3 \
  --conf spark.pyspark.python=python3 \
  --jars build/jars/delta/delta-spark.jar,build/jars/delta/unitycatalog-client.jar \
  --py-files dist/dovetail.zip \
  jobs/register.py \
  --lake /srv/dovetail/lake \
  --prefix dovetail \
  --lasting true
