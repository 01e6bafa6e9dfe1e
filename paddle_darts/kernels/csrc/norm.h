// Batch normalisation in pieces: sums over one sample, their union over the batch, and what is done with them.
#pragma once

#include <cmath>

#include "layout.h"

namespace pd {

// One batch norm, each array filled up to whole vectors. Beyond the real channels gamma is 0, and so is the output.
template <class T>
struct Norm {
  T *mean, *scale, *variance, *gamma, *beta;  // scale = 1 / sqrt(variance + epsilon)
};

// f(value) for every vector of an unpadded map's block, in four independent chains.
template <class T, int L, class F>
inline Vec<T, L> sum_over_pixels(int64_t pixels, F f) {
  using V = Vec<T, L>;
  V sum[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  int64_t p = 0;
  for (; p + 4 <= pixels; p += 4)
    for (int i = 0; i < 4; ++i) sum[i] += f((p + i) * L);
  for (; p < pixels; ++p) sum[0] += f(p * L);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// Mean and sum of squared deviations of each channel of one sample: result[0..filled) and [filled..2 filled).
template <class T>
inline void moments(const T* map, const Shape& s, T* result) {
  with_lanes<T>(s.lanes, [&](auto lanes) {
    using V = Vec<T, lanes>;
    const V inverse = V::all(T(1) / T(s.pixels()));
    for (int b = 0; b < s.blocks(); ++b) {
      const T* p = map + b * s.block();
      const V mean = sum_over_pixels<T, lanes>(s.pixels(), [&](int64_t i) { return V::load(p + i); }) * inverse;
      mean.store(result + b * lanes);
      sum_over_pixels<T, lanes>(s.pixels(), [&](int64_t i) {
        const V d = V::load(p + i) - mean;
        return d * d;
      }).store(result + s.filled() + b * lanes);
    }
  });
}

// Mean and biased variance of the batch from the moments of its samples.
template <class T>
inline void join_moments(const T* samples, int64_t batch, const Shape& s, double epsilon, Norm<T>& norm) {
  const int n = s.filled();
  for (int c = 0; c < n; ++c) {
    double mean = 0, squares = 0;
    for (int64_t b = 0; b < batch; ++b) mean += samples[2 * b * n + c];
    mean /= double(batch);
    for (int64_t b = 0; b < batch; ++b) {
      const double d = samples[2 * b * n + c] - mean;
      squares += samples[(2 * b + 1) * n + c] + double(s.pixels()) * d * d;
    }
    const double variance = squares / (double(batch) * double(s.pixels()));
    norm.mean[c] = T(mean);
    norm.variance[c] = T(variance);
    norm.scale[c] = T(1.0 / std::sqrt(variance + epsilon));
  }
}

// out = gamma * normalised + beta, rectified if asked, into a map with a border of zeros (or without one).
template <class T>
inline void normalised_copy(const T* map, const Shape& s, const Norm<T>* norm, bool relu, T* out, const Shape& to) {
  if (!norm) return padded_copy(map, s, relu, out, to);
  zero_border(out, to);
  with_lanes<T>(s.lanes, [&](auto lanes) {
    using V = Vec<T, lanes>;
    const Walk from = walk(s), into = walk(to);
    for (int b = 0; b < s.blocks(); ++b) {
      const V mean = V::load(norm->mean + b * lanes), beta = V::load(norm->beta + b * lanes);
      const V factor = V::load(norm->scale + b * lanes) * V::load(norm->gamma + b * lanes);
      for (int y = 0; y < s.height; ++y) {
        const T* p = map + from.at(b, y, 0);
        T* q = out + into.at(b, y, 0);
        for (int x = 0; x < s.width; ++x) {
          const V v = (V::load(p + x * lanes) - mean) * factor + beta;
          (relu ? rectified(v) : v).store(q + x * lanes);
        }
      }
    }
  });
}

// total += weight * (gamma * normalised + beta); without a norm, total += weight * map. Both maps are unpadded.
template <class T>
inline void add_normalised(const T* map, const Shape& s, const Norm<T>* norm, T weight, T* total) {
  with_lanes<T>(s.lanes, [&](auto lanes) {
    using V = Vec<T, lanes>;
    for (int b = 0; b < s.blocks(); ++b) {
      const V w = V::all(weight);
      V mean = V::zero(), factor = w, shift = V::zero();
      if (norm) {
        mean = V::load(norm->mean + b * lanes);
        factor = w * V::load(norm->scale + b * lanes) * V::load(norm->gamma + b * lanes);
        shift = w * V::load(norm->beta + b * lanes);
      }
      const T* p = map + b * s.block();
      T* q = total + b * s.block();
      for (int64_t i = 0; i < s.block(); i += lanes)
        (V::load(q + i) + (V::load(p + i) - mean) * factor + shift).store(q + i);
    }
  });
}

// Of one sample: sums[0..filled) = sum of g, sums[filled..) = sum of g * normalised (of g * map without a norm).
template <class T>
inline void gradient_sums(const T* grad, const T* map, const Shape& s, const Norm<T>* norm, T* sums) {
  with_lanes<T>(s.lanes, [&](auto lanes) {
    using V = Vec<T, lanes>;
    for (int b = 0; b < s.blocks(); ++b) {
      const T *g = grad + b * s.block(), *p = map + b * s.block();
      const V mean = norm ? V::load(norm->mean + b * lanes) : V::zero();
      const V scale = norm ? V::load(norm->scale + b * lanes) : V::all(T(1));
      sum_over_pixels<T, lanes>(s.pixels(), [&](int64_t i) { return V::load(g + i); }).store(sums + b * lanes);
      const V product =
          sum_over_pixels<T, lanes>(s.pixels(), [&](int64_t i) { return V::load(g + i) * (V::load(p + i) - mean); });
      (product * scale).store(sums + s.filled() + b * lanes);
    }
  });
}

// The gradient of what went into a batch norm. `sums` are the sums of gradient_sums over the batch (null: the norm
// used running statistics, which are constants); `weight` stands in front of every g, `sample` besides for this one.
template <class T>
inline void norm_gradient(const T* grad, const T* map, const Shape& s, const Norm<T>* norm, const T* sums, double count,
                          T weight, T sample, T* out, const Shape& to) {
  zero_border(out, to);
  with_lanes<T>(s.lanes, [&](auto lanes) {
    using V = Vec<T, lanes>;
    const Walk from = walk(s), into = walk(to);
    const V inverse = V::all(T(1.0 / count));
    for (int b = 0; b < s.blocks(); ++b) {
      V factor = V::all(weight), mean = V::zero(), constant = V::zero(), slope = V::zero();
      if (norm) {
        const V scale = V::load(norm->scale + b * lanes);
        factor = factor * V::load(norm->gamma + b * lanes) * scale;
        mean = V::load(norm->mean + b * lanes);
        if (sums) {
          constant = factor * V::load(sums + b * lanes) * inverse;
          slope = factor * V::load(sums + s.filled() + b * lanes) * inverse * scale;
        }
      }
      factor = factor * V::all(sample);
      for (int y = 0; y < s.height; ++y) {
        const T *g = grad + from.at(b, y, 0), *p = map + from.at(b, y, 0);
        T* q = out + into.at(b, y, 0);
        for (int x = 0; x < s.width; ++x)
          (factor * V::load(g + x * lanes) - constant - slope * (V::load(p + x * lanes) - mean)).store(q + x * lanes);
      }
    }
  });
}

// sums[i] = sum over the samples, in their order.
template <class T>
inline void sum_samples(const T* samples, int64_t batch, int count, T* sums) {
  for (int i = 0; i < count; ++i) {
    double total = 0;
    for (int64_t b = 0; b < batch; ++b) total += samples[b * count + i];
    sums[i] = T(total);
  }
}

// map *= factor, channel by channel; the map is unpadded.
template <class T>
inline void scale_channels(T* map, const Shape& s, const T* factor) {
  with_lanes<T>(s.lanes, [&](auto lanes) {
    using V = Vec<T, lanes>;
    for (int b = 0; b < s.blocks(); ++b) {
      const V f = V::load(factor + b * lanes);
      T* p = map + b * s.block();
      for (int64_t i = 0; i < s.block(); i += lanes) (V::load(p + i) * f).store(p + i);
    }
  });
}

}  // namespace pd
