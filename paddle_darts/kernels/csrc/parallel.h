// Parallel loops whose results do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace pd {

// A batch is cut into at most this many runs of consecutive samples. Sums over the batch are taken per run and then
// over the runs in their order, so their bits are the same however many threads share the work.
constexpr int kMaxChunks = 32;

struct Chunks {
  int64_t batch;
  int count;

  explicit Chunks(int64_t batch) : batch(batch), count(int(std::min<int64_t>(batch, kMaxChunks))) {}
  int64_t begin(int chunk) const { return batch * chunk / count; }
};

// f(i, thread) for i in [0, n). What f throws is thrown again here, once all threads are done.
template <class F>
inline void parallel_for(int64_t n, int threads, F f) {
#ifdef _OPENMP
  if (threads > 1 && n > 1) {
    std::exception_ptr thrown;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < n; ++i) {
      try {
        f(i, omp_get_thread_num());
      } catch (...) {
#pragma omp critical
        thrown = std::current_exception();
      }
    }
    if (thrown) std::rethrow_exception(thrown);
    return;
  }
#endif
  (void)threads;
  for (int64_t i = 0; i < n; ++i) f(i, 0);
}

}  // namespace pd
