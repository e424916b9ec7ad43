"""The Grafana dashboard as code: `python -m deploy.grafana`, from the root of the checkout, writes nasfeat.json anew.

`promql` has the few forms of query that panels are made of, `panels` the few kinds of panel; each row of the dashboard
is a module, and `dashboard` puts them together. What is committed is held to this code by a test, and each of its
queries to a live server by `make observe`.
"""
