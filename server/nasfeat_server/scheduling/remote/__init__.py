"""The scheduler for front ends in processes of their own: stand-ins there, a counterpart here, a link between them."""
