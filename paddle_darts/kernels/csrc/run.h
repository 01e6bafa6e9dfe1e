// One forward or backward pass over a plan: its buffers, and the parts that all kinds of steps use.
#pragma once

#include <map>
#include <memory>

#include "arena.h"
#include "norm.h"
#include "parallel.h"
#include "plan.h"
#include "weights.h"

namespace pd {

// The arguments of a pass, as cell.py lays them out. Pointers to tensors are of the type that the pass computes in.
struct Call {
  const int64_t* program;
  const int64_t* sizes;  // [height, width] of every input
  int64_t batch;
  void* const* inputs;  // [B, C, H, W] each
  void* const* params;
  const void* coefficients;
  const void* scales;  // [rows, B]
  void* const* running_mean;
  void* const* running_variance;
  const int64_t* tracked;  // the norm that each pair of running statistics belongs to
  int64_t tracked_count;
  int64_t training, track, threads;
  double momentum, epsilon;
  void* out;             // [B, C, H, W]: the output maps side by side
  void* maps;            // kept from the forward for the backward pass, and so are
  void* stats;           // the statistics of the norms
  const void* grad_out;  // backward: the gradient of `out`, and null where no gradient is wanted
  void* const* grad_inputs;
  void* const* grad_params;
  void* grad_coefficients;
};

// A map of the whole batch.
template <class T>
struct Batch {
  T* data = nullptr;
  Shape shape;

  T* at(int64_t sample) const { return data + sample * shape.size(); }
};

// Scratch memory of the process; the lock of `execute` keeps it to one pass at a time.
struct Memory {
  Arena shared;
  std::vector<std::unique_ptr<Arena>> thread;
};

template <class T>
class Run {
 public:
  const Call& call;
  const Plan plan;
  const int64_t batch;
  const Chunks chunks;
  const int threads;
  Arena& arena;
  std::vector<Batch<T>> maps, grads;
  std::vector<Norm<T>> norms;

  Run(const Call& call, Memory& memory)
      : call(call),
        plan(read_plan<T>(call.program, call.sizes)),
        batch(call.batch),
        chunks(call.batch),
        threads(int(call.threads)),
        arena(memory.shared),
        memory_(memory) {
    while (int(memory.thread.size()) < threads) memory.thread.push_back(std::make_unique<Arena>());
    place_maps();
    place_copies();
    place_norms();
    read_inputs();
  }

  const T* param(int i) const { return static_cast<const T*>(call.params[i]); }
  T* grad_param(int i) const { return i >= 0 && call.grad_params ? static_cast<T*>(call.grad_params[i]) : nullptr; }
  T coefficient(const Step& s) const {
    return s.coefficient < 0 ? T(1) : static_cast<const T*>(call.coefficients)[s.coefficient];
  }
  // The factor of one sample (drop path).
  T scale(const Step& s, int64_t sample) const {
    return s.scale < 0 ? T(1) : static_cast<const T*>(call.scales)[s.scale * batch + sample];
  }
  const Norm<T>* norm(int i) const { return i < 0 ? nullptr : &norms[i]; }
  double values_per_channel(const Shape& s) const { return double(batch) * double(s.pixels()); }

  Batch<T> take(const Shape& s) { return {arena.take<T>(batch * s.size()), s}; }

  // f(chunk, first sample, last sample, scratch of the thread), in parallel.
  template <class F>
  void each_chunk(F f) {
    parallel_for(chunks.count, threads, [&](int64_t c, int thread) {
      Arena& scratch = *memory_.thread[thread];
      Scope scope(scratch);
      f(int(c), chunks.begin(int(c)), chunks.begin(int(c) + 1), scratch);
    });
  }

  // f(sample, scratch of the thread), in parallel.
  template <class F>
  void each_sample(F f) {
    each_chunk([&](int, int64_t begin, int64_t end, Arena& scratch) {
      for (int64_t b = begin; b < end; ++b) {
        Scope scope(scratch);
        f(b, scratch);
      }
    });
  }

  // f(first sample, how many, scratch of the thread), in parallel, for up to `most` samples at once.
  template <class F>
  void each_group(int most, F f) {
    each_chunk([&](int, int64_t begin, int64_t end, Arena& scratch) {
      for (int64_t b = begin; b < end; b += most) {
        Scope scope(scratch);
        f(b, int(std::min<int64_t>(most, end - b)), scratch);
      }
    });
  }

  bool in_planes(int map) const { return plan.in_planes[map]; }
  bool rectifies(int map) const { return plan.rectified[map]; }

  // The map with a border of zeros as wide as any step needs, rectified or not; made once.
  const Batch<T>& copy(int map, bool relu) {
    Copy& copy = copies_[{map, relu}];
    if (!copy.filled) {
      const Batch<T>& to = copy.values;
      each_sample([&](int64_t b, Arena&) { padded_copy(maps[map].at(b), maps[map].shape, relu, to.at(b), to.shape); });
      copy.filled = true;
    }
    return copy.values;
  }

  // Sets batch statistics from the moments of the samples.
  void join(int norm, const T* samples) {
    join_moments(samples, batch, plan.norm_shape[norm], call.epsilon, norms[norm]);
  }

 private:
  struct Copy {
    Batch<T> values;
    bool filled = false;
  };

  Memory& memory_;
  std::map<std::pair<int, bool>, Copy> copies_;

  void place_copies() {
    std::map<std::pair<int, bool>, int> border;
    for (const Step& s : plan.steps)
      if (s.kind == Kind::kConv && !s.joins()) {
        int& b = border[{s.source, s.stages[0].relu}];
        b = std::max(b, s.stages[0].border());
      }
    for (const auto& [key, b] : border) copies_[key].values = take(maps[key.first].shape.padded(b));
  }

  void place_maps() {
    T* kept = static_cast<T*>(call.maps);
    for (int m = 0; m < int(plan.maps.size()); ++m) {
      const Shape& s = plan.maps[m];
      if (in_planes(m)) {
        // only ever read
        maps.push_back({static_cast<T*>(call.inputs[m]), as_planes(s)});
      } else if (m < plan.inputs || plan.hidden[m]) {
        maps.push_back(take(s));
      } else {
        maps.push_back({kept, s});
        kept += batch * s.size();
      }
    }
  }

  // Mean, scale and variance lie in `stats`; gamma and beta are copied to whole vectors.
  void place_norms() {
    T* stats = static_cast<T*>(call.stats);
    for (int i = 0; i < plan.norms; ++i) {
      const Shape& s = plan.norm_shape[i];
      const int n = s.filled();
      T* affine = arena.take<T>(2 * n);
      for (int c = 0; c < n; ++c) {
        const bool real = c < s.channels;
        affine[c] = !real ? T(0) : plan.gamma[i] < 0 ? T(1) : param(plan.gamma[i])[c];
        affine[n + c] = real && plan.beta[i] >= 0 ? param(plan.beta[i])[c] : T(0);
      }
      norms.push_back({stats, stats + n, stats + 2 * n, affine, affine + n});
      stats += 3 * n;
    }
  }

  void read_inputs() {
    each_sample([&](int64_t b, Arena&) {
      for (int m = 0; m < plan.inputs; ++m) {
        if (in_planes(m)) continue;
        const Shape& s = plan.maps[m];
        from_planes(static_cast<const T*>(call.inputs[m]) + b * s.channels * s.pixels(), s, maps[m].at(b));
      }
    });
  }
};

// Sums over the batch, such as gradients of weights: taken per chunk of samples, then over the chunks in their order.
template <class T>
class ChunkSums {
 public:
  ChunkSums(Run<T>& run, bool wanted, int64_t count)
      : run_(run), count_(count), data_(wanted ? run.arena.template take<T>(count * run.chunks.count) : nullptr) {}

  // The sums of a chunk, still zero; null when none are wanted.
  T* start(int chunk) {
    if (!data_) return nullptr;
    std::memset(data_ + chunk * count_, 0, sizeof(T) * count_);
    return data_ + chunk * count_;
  }

  // The sums over all chunks, or null.
  T* total() {
    if (!data_) return nullptr;
    constexpr int64_t kRange = 4096;
    parallel_for((count_ + kRange - 1) / kRange, run_.threads, [&](int64_t range, int) {
      const int64_t end = std::min(count_, (range + 1) * kRange);
      for (int c = 1; c < run_.chunks.count; ++c)
        for (int64_t i = range * kRange; i < end; ++i) data_[i] += data_[c * count_ + i];
    });
    return data_;
  }

 private:
  Run<T>& run_;
  int64_t count_;
  T* data_;
};

// f(first channel of an output map, the map) for the maps that are joined in `out`; returns their channels in all.
template <class F>
inline int each_output(const Plan& plan, F f) {
  int channels = 0;
  for (int m : plan.outputs) {
    f(channels, m);
    channels += plan.maps[m].channels;
  }
  return channels;
}

}  // namespace pd
