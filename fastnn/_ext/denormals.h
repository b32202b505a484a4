/* Numbers below 1e-38 (float) count as zero while an optimizer works: the processor computes with them a hundred times
 * slower, and the averages of units that have died shrink to nothing else. Only there, and the state of the calling
 * thread is put back: NumPy and everybody else keep their denormal numbers. */
#ifndef FASTNN_DENORMALS_H
#define FASTNN_DENORMALS_H
#include <stdint.h>
#if defined(__SSE2__) || defined(_M_X64)
  #include <immintrin.h>
  static inline uint64_t fastnn_flush(void)
  {
      const uint64_t before = _mm_getcsr();
      _mm_setcsr((unsigned)before | 0x8040);  /* flush results to zero, take inputs as zero */
      return before;
  }
  static inline void fastnn_restore(uint64_t before) { _mm_setcsr((unsigned)before); }
#elif defined(__aarch64__) && defined(__GNUC__)
  static inline uint64_t fastnn_flush(void)
  {
      uint64_t before;
      __asm__ volatile("mrs %0, fpcr" : "=r"(before));
      __asm__ volatile("msr fpcr, %0" : : "r"(before | 1u << 24) : "memory");
      return before;
  }
  static inline void fastnn_restore(uint64_t before) { __asm__ volatile("msr fpcr, %0" : : "r"(before) : "memory"); }
#else
  static inline uint64_t fastnn_flush(void) { return 0; }
  static inline void fastnn_restore(uint64_t before) { (void)before; }
#endif
#endif
