// Chains of convolution stages: [ReLU,] [depthwise,] dense[, batch norm], once or twice.
#pragma once

#include "dense.h"
#include "run.h"

namespace pd {

template <class T>
inline DenseWeights<T> dense_weights(const Run<T>& run, const Stage& s) {
  return {{run.param(s.dense[0]), s.halves() ? run.param(s.dense[1]) : nullptr},
          s.channels,
          s.mid.channels,
          s.dense_taps.count()};
}

inline std::vector<int> all_of(const Taps& taps) {
  std::vector<int> index(taps.count());
  for (int i = 0; i < taps.count(); ++i) index[i] = i;
  return index;
}

// The weights of a stage in the order of the forward loops.
template <class T>
struct Packed {
  T *depthwise = nullptr, *dense;

  Packed(Run<T>& run, const Stage& s) {
    if (s.depthwise >= 0) {
      depthwise = run.arena.template take<T>(int64_t(s.depthwise_taps.count()) * s.in.filled());
      pack_depthwise(run.param(s.depthwise), s.depthwise_taps.count(), all_of(s.depthwise_taps), s.in, depthwise);
    }
    const int64_t factors = int64_t(s.mid.channels) * s.out.filled();
    if (s.tiled) {
      dense = run.arena.template take<T>(kTileValues * factors);
      Scope scope(run.arena);
      T* plain = run.arena.template take<T>(9 * factors);
      pack_dense(dense_weights(run, s), s.out, plain);
      if constexpr (kTiles<T>) tile_weights(plain, s.out.lanes, s.out.blocks(), s.mid.channels, dense);
      return;
    }
    dense = run.arena.template take<T>(s.dense_taps.count() * factors);
    pack_dense(dense_weights(run, s), s.out, dense);
  }
};

// What takes the values of a convolution and stores them in a map.
template <class T, int L>
inline auto storing(T* out, const Walk& to) {
  return [=](int b, int y) {
    return [row = out + to.at(b, y, 0), pixel = to.pixel](int x, Vec<T, L> v) { v.store(row + x * pixel); };
  };
}

// out = the depthwise convolution of a padded sample.
template <class T>
inline void depthwise_forward(const Stage& s, const T* in, const Shape& from, const T* weight, T* out) {
  with_lanes<T>(from.lanes, [&](auto lanes) {
    const Walk to = walk(s.mid);
    depthwise<T, lanes>(in, walk(from, s.depthwise_taps.stride_y, s.depthwise_taps.stride_x), from.blocks(),
                        s.mid.height, s.mid.width, s.depthwise_taps, from, weight, storing<T, lanes>(out, to));
  });
}

// out = the dense convolution of a sample, which has the border that its taps need.
template <class T>
inline void dense_forward(const Stage& s, const T* in, const Shape& from, const T* weight, T* out) {
  with_lanes<T>(s.out.lanes, [&](auto lanes) {
    const Walk to = walk(s.out);
    dense<T, lanes>(in, walk(from, s.dense_taps.stride_y, s.dense_taps.stride_x), from.lanes, from.channels,
                    s.out.blocks(), s.out.height, s.out.width, offsets(s.dense_taps, from), weight,
                    storing<T, lanes>(out, to));
  });
}

// A stage without depthwise convolution of one sample, or of several neighbouring ones if it is computed in tiles.
template <class T>
inline void dense_stage_forward(const Stage& s, const T* in, const Shape& from, int samples, const T* weight, T* out,
                                Arena& scratch) {
  if (!s.tiled) return dense_forward(s, in, from, weight, out);
  if constexpr (kTiles<T>)
    with_lanes<T>(s.out.lanes, [&](auto lanes) {
      const Walk to = walk(s.out);
      tiled_conv<T, lanes>(in, from, samples, weight, s.out.blocks(), scratch, [&](int sample, int b, int y) {
        T* row = out + sample * s.out.size() + to.at(b, y, 0);
        return [=](int x, Vec<T, lanes> v) { v.store(row + x * lanes); };
      });
    });
}

// One stage of one sample, or of several neighbouring ones if it is computed in tiles; `mid` receives what the
// depthwise convolution gives.
template <class T>
inline void stage_forward(const Stage& s, const Packed<T>& weights, const T* in, const Shape& from, int samples, T* mid,
                          T* out, Arena& scratch) {
  if (s.depthwise < 0) return dense_stage_forward(s, in, from, samples, weights.dense, out, scratch);
  depthwise_forward(s, in, from, weights.depthwise, mid);
  dense_forward(s, mid, s.mid, weights.dense, out);
}

template <class T>
inline void conv_forward(Run<T>& run, const Step& step) {
  Scope scope(run.arena);
  Batch<T> before;
  for (size_t i = 0; i < step.stages.size(); ++i) {
    const Stage& s = step.stages[i];
    const Packed<T> weights(run, s);
    const Batch<T> out = run.take(s.out);
    const bool statistics = s.norm >= 0 && run.call.training;
    const int n = s.out.filled();
    T* samples = run.arena.template take<T>(statistics ? run.batch * 2 * n : 0);
    const Batch<T>* source = i ? nullptr : &run.copy(step.source, s.relu);
    run.each_group(s.samples(), [&](int64_t b, int count, Arena& scratch) {
      const T* in;
      Shape from;
      if (source) {
        in = source->at(b), from = source->shape;
      } else {
        from = s.in.padded(s.border());
        T* copy = scratch.take<T>(count * from.size());
        for (int k = 0; k < count; ++k)
          normalised_copy(before.at(b + k), s.in, run.norm(step.stages[i - 1].norm), s.relu, copy + k * from.size(),
                          from);
        in = copy;
      }
      stage_forward(s, weights, in, from, count, scratch.take<T>(s.mid.size()), out.at(b), scratch);
      if (statistics)
        for (int k = 0; k < count; ++k) moments(out.at(b + k), s.out, samples + (b + k) * 2 * n);
    });
    if (statistics) run.join(s.norm, samples);
    before = out;
  }
  run.each_sample([&](int64_t b, Arena&) {
    add_normalised(before.at(b), before.shape, run.norm(step.stages.back().norm),
                   run.coefficient(step) * run.scale(step, b), run.maps[step.target].at(b));
  });
}

}  // namespace pd
