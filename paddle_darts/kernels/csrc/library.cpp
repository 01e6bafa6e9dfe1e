// What Python calls. Every function returns null, or a message that says what went wrong.
#include <cstdio>
#include <mutex>

#include "passes.h"
#include "run.h"

#define PD_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

// Never destroyed: a thread may still be in a pass while the process ends.
pd::Memory& memory() {
  static pd::Memory* m = new pd::Memory;
  return *m;
}

std::mutex one_at_a_time;
char message[256];

template <class F>
const char* guarded(F f) {
  std::lock_guard<std::mutex> lock(one_at_a_time);
  try {
    f();
    return nullptr;
  } catch (const std::bad_alloc&) {
    return "out of memory";
  } catch (const std::exception& error) {
    std::snprintf(message, sizeof(message), "%s", error.what());
    return message;
  }
}

template <class T>
void measure(const int64_t* program, const int64_t* sizes, int64_t batch, int64_t* result) {
  const pd::Plan plan = pd::read_plan<T>(program, sizes);
  result[0] = pd::each_output(plan, [](int, int) {});
  result[1] = plan.maps[plan.outputs[0]].height;
  result[2] = plan.maps[plan.outputs[0]].width;
  result[3] = result[4] = 0;
  for (size_t m = plan.inputs; m < plan.maps.size(); ++m)
    if (!plan.hidden[m]) result[3] += batch * plan.maps[m].size();
  for (const pd::Shape& s : plan.norm_shape) result[4] += 3 * s.filled();
}

}  // namespace

// Changes with the meaning of any argument.
PD_EXPORT int pd_abi() { return 1; }

PD_EXPORT const char* pd_simd() {
#if defined(__AVX512F__)
  return "AVX-512";
#elif defined(__AVX2__)
  return "AVX2";
#elif defined(__AVX__)
  return "AVX";
#elif defined(__ARM_NEON)
  return "NEON";
#elif defined(__SSE2__)
  return "SSE2";
#else
  return "generic";
#endif
}

// result = channels, height and width of the output, values to keep for the backward pass, values of statistics.
PD_EXPORT const char* pd_measure(const int64_t* program, const int64_t* sizes, int64_t batch, int64_t wide,
                                 int64_t* result) {
  return guarded(
      [&] { wide ? measure<double>(program, sizes, batch, result) : measure<float>(program, sizes, batch, result); });
}

PD_EXPORT const char* pd_forward(const pd::Call* call, int64_t wide) {
  return guarded([&] { wide ? pd::forward_float64(*call, memory()) : pd::forward_float32(*call, memory()); });
}

PD_EXPORT const char* pd_backward(const pd::Call* call, int64_t wide) {
  return guarded([&] { wide ? pd::backward_float64(*call, memory()) : pd::backward_float32(*call, memory()); });
}
