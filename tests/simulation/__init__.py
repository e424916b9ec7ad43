"""A simulator of the scheduling policy: virtual time, discrete events, the very functions that the server runs.

Run by `make simulate`, or by `python -m tests.simulation` from the root of the checkout.

What is modelled:
- streams with their arrivals (periodic with jitter, bursts, Poisson, jobs of many frames at once), weight, deadline,
  overload policy, and a window of frames in flight that is shared out as the server does it, once a second;
- devices of unequal speed whose batches take measured times, with noise; each runs one batch and holds one more;
- the way of an answer to the client and of the next frame back, as one constant;
- three disciplines: ours, whose decisions are those of `nasfeat_server.scheduling`, first come first served, and
  dynamic batching after Triton.

What is not: the network's bandwidth, decoding, the time that the server's own process takes, shared results of
identical images, replicas that fail, streams that come and go. Every frame within its stream's window has a slot.
"""
