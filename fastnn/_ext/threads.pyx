"""The number of threads (one owner for all kernels) and scratch memory that lives from call to call."""

from fastnn._ext cimport openmp
from libc.stdint cimport int64_t

cdef extern from "vec.h":
    int FASTNN_VECTOR

cdef extern from *:
    """
    #include <stdint.h>
    #include <stdlib.h>
    #if defined(__linux__)
      #include <unistd.h>
    #endif
    static int64_t fastnn_level2(void) {
    #ifdef _SC_LEVEL2_CACHE_SIZE
        return sysconf(_SC_LEVEL2_CACHE_SIZE);
    #else
        return 0;
    #endif
    }
    #if defined(_MSC_VER)
      #include <malloc.h>
      #define FASTNN_THREAD __declspec(thread)
      #define fastnn_alloc(n) _aligned_malloc((size_t)(n), 64)
      #define fastnn_free _aligned_free
    #else
      #define FASTNN_THREAD __thread
      static void *fastnn_alloc(int64_t n) {
          void *p = NULL;
          return posix_memalign(&p, 64, (size_t)n) ? NULL : p;
      }
      #define fastnn_free free
    #endif
    /* Memory of the calling thread, so that two Python threads may run two models at once. It grows
     * to the largest request and is kept: page faults cost more than arithmetic. */
    static FASTNN_THREAD struct { void *data; int64_t size; } fastnn_slots[12];
    static void *fastnn_scratch(int slot, int64_t n) {
        if (n > fastnn_slots[slot].size) {
            fastnn_free(fastnn_slots[slot].data);
            fastnn_slots[slot].data = fastnn_alloc(n);
            fastnn_slots[slot].size = fastnn_slots[slot].data ? n : 0;
        }
        return fastnn_slots[slot].data;
    }
    """
    void* fastnn_scratch(int slot, int64_t n) noexcept nogil
    int64_t fastnn_level2() noexcept nogil

# Starting and joining a team costs about a microsecond, twenty after a pause: work of fewer
# operations than this stays on the calling thread.
cdef double SMALL = 60_000.0
cdef int n_threads = 1
cdef int64_t level2 = fastnn_level2()
HAS_OPENMP = bool(openmp.FASTNN_HAS_OPENMP)
HAS_VECTOR = bool(FASTNN_VECTOR)


cdef int threads_for(double work) noexcept nogil:
    """Threads for a kernel of that much `work` (multiply-adds, or elements times their cost)."""
    return 1 if work < SMALL else n_threads


cdef int64_t level2_cache() noexcept nogil:
    """Bytes of a core's level 2 cache, 512 KB where the system does not tell. Never let a sum depend on it."""
    return level2 if level2 > 0 else 512 << 10


cdef void* scratch(int slot, int64_t n_bytes) noexcept nogil:
    """At least `n_bytes` of 64-byte aligned memory of the calling thread, NULL if there is none.

    It holds until the same thread asks for the same slot again.
    """
    return fastnn_scratch(slot, n_bytes if n_bytes > 64 else 64)


def set_num_threads(int n):
    global n_threads
    n_threads = n


def get_num_threads():
    return n_threads
