"""Plain manifests made of the Helm chart: `python -m deploy.kubernetes` writes them anew.

A file for each file of values in the chart's ci/. A test holds what is committed to the chart.
"""
