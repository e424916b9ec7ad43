"""The dashboard, the rules and the runbooks, held to a live server.

Run by `make observe`, or by `python -m tests.observe` from the root of the checkout.

A real Prometheus scrapes a real server under a load that shows every metric: streams of every policy, images that are
bad, late or the same again, unary calls, strangers, replicas killed, versions of the model tried and promoted. Then
each query is evaluated that an operator will ever see: those of the dashboard's panels, variables and annotations, of
the recording rules and alerts, and of the runbooks. Each must give data, or be declared to have none here, with the
reason; and each metric, label and value that it names must exist. An alert that is quiet must have something to be
quiet about.
"""
