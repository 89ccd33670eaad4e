"""The whole platform on one machine without containers: servers from Maven jars, the shop simulator, the demo."""
