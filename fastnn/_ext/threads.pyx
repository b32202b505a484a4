"""The number of threads (one owner for all kernels) and scratch memory that lives from call to call.

Where other programs want the same cores, a team of threads is slower than one, by a factor of up to hundreds: its
members wait for each other at the end of each loop, and whoever waits takes the core from whoever is waited for.
`threads_for` therefore watches how long the threads wait for a core (`Watch`; Linux tells), and lets one compute
alone for a while. Results do not depend on the number of threads, so this changes none.
"""

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
    static FASTNN_THREAD int fastnn_alone; /* whether the kernels of the calling thread get no team */
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
    bint fastnn_alone

cdef extern from "contention.h" nogil:
    int64_t fastnn_now()
    int64_t fastnn_waited()

cdef enum:
    MS = 1_000_000
    WINDOW = 15 * MS          # how often it is looked how long threads waited for a core,
    STALE = 1000 * MS         # unless they had nothing to do for so long
    SHARE = 10                # a tenth of the time says that others want the cores
    FIRST_PAUSE = 20 * MS     # then one thread computes for so long,
    LONGEST_PAUSE = 640 * MS  # twice as long each time that the next try goes no better

cdef struct Watch:
    int64_t since, waited    # the start of the window, and how long threads had waited until then
    int64_t until, pause     # the end of the last pause, and its length

cdef Watch watch

# Starting and joining a team costs about a microsecond, twenty after a pause: work of fewer
# operations than this stays on the calling thread.
cdef double SMALL = 60_000.0
cdef int n_threads = 1
cdef int64_t level2 = fastnn_level2()
HAS_OPENMP = bool(openmp.FASTNN_HAS_OPENMP)
HAS_VECTOR = bool(FASTNN_VECTOR)


cdef int threads_for(double work) noexcept nogil:
    """Threads for a kernel of that much `work` (multiply-adds, or elements times their cost)."""
    cdef int64_t now
    if work < SMALL or n_threads == 1 or fastnn_alone:
        return 1
    now = fastnn_now()
    if now < watch.until:
        return 1
    if now - watch.since < WINDOW:  # where there is no clock, always
        return n_threads
    return 1 if contended(&watch, now, fastnn_waited()) else n_threads


cdef bint contended(Watch* w, int64_t now, int64_t waited) noexcept nogil:
    """Whether one thread is to compute alone: the team waited for cores too long since the last look."""
    cdef int64_t time = now - w.since, delay = waited - w.waited
    cdef bint whole = w.since >= w.until  # the window holds no part of a pause
    w.since, w.waited = now, waited
    if waited < 0 or not whole or time > STALE or delay * SHARE <= time:
        return False
    w.pause = min(2 * w.pause, <int64_t>LONGEST_PAUSE) if now - w.until < 4 * WINDOW and w.pause else FIRST_PAUSE
    w.until = now + w.pause
    return True


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


def compute_alone():
    """From now on the kernels that this Python thread calls run on it alone: it works beside another one's team."""
    global fastnn_alone
    fastnn_alone = True


def _watch(times):
    """What `contended` makes of these (now, waited), for the tests: the end of the pause, 0 for none, each time."""
    cdef Watch w
    w.since = w.waited = w.until = w.pause = 0
    return [w.until if contended(&w, now, waited) else 0 for now, waited in times]
