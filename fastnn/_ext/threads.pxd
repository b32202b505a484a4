# How many threads a kernel may use, and memory to work in. See threads.pyx.
from libc.stdint cimport int64_t

cdef int threads_for(double work) noexcept nogil
cdef int64_t level2_cache() noexcept nogil
cdef void* scratch(int slot, int64_t n_bytes) noexcept nogil

cdef enum:
    # Slots of scratch memory; a kernel that calls another must not use the other's slots.
    SLOT_GEMM_A = 0
    SLOT_GEMM_B = 1
    SLOT_CONV_WEIGHT = 2   # packed weights, shared by the threads of a kernel
    SLOT_CONV_IMAGE = 3    # padded images
    SLOT_CONV_ROWS = 4     # row offsets and pointers
    SLOT_CONV_PARTIAL = 5  # partial sums
    SLOT_WINOGRAD_WEIGHT = 6
    SLOT_WINOGRAD_TILES = 7
    SLOT_REDUCE = 8        # partial sums of the other kernels
    SLOT_MOMENTS = 9
    N_SLOTS = 12
