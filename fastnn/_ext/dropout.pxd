# The counter generator that noise.pyx shares: the bits of element i are a hash of (key, i).
from libc.stdint cimport int64_t, uint64_t

cdef enum:
    CHUNK = 8192  # elements of one owner; divides 2^32, where the words of the key change

cdef uint64_t words_of(uint64_t key, uint64_t block) noexcept nogil
