"""The fast CPU backend: the textbook's arithmetic in blocks, spread over one Python thread per core.

BLAS is held to one thread meanwhile, and its settings are put back after every call. In networks of products without
convolutions, or with small ones, it is BLAS that has the threads: they wake more quickly than Python's, but spin for a while
after each product.
Where one thread does the work, or BLAS's threads do, Python's own time counts too, so a training step is recorded once and
replayed (call_list.py). That is so in each of several processes that share a batch.
Blocks are dealt to threads by position, never by arrival, and partial sums are added in that order: two runs with one thread
count give the same bytes, if no other Python thread of the process runs a game beside them.
"""
