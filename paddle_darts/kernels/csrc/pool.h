// Pooling over the pixels that exist; what is padded counts neither as a value nor as a pixel.
#pragma once

#include <algorithm>

#include "geometry.h"

namespace pd {

struct Window {
  bool average;
  int size, stride, pad;

  // The part of the window of output pixel `o` that lies in [0, length).
  int first(int o) const { return std::max(0, o * stride - pad); }
  int last(int o, int length) const { return std::min(length, o * stride - pad + size); }
};

// Where a value takes the place of the largest so far: where it is larger, or not a number.
template <class V>
inline auto beats(V value, V best) {
  return (value.v > best.v) | (value.v != value.v);
}

// f(block, y, x, first row, last row, first column, last column) for every output pixel.
template <class F>
inline void each_window(const Window& w, const Shape& in, const Shape& out, F f) {
  for (int b = 0; b < out.blocks(); ++b)
    for (int y = 0; y < out.height; ++y)
      for (int x = 0; x < out.width; ++x) f(b, y, x, w.first(y), w.last(y, in.height), w.first(x), w.last(x, in.width));
}

template <class T>
inline void pool(const T* map, const Shape& in, const Window& window, T* out, const Shape& to) {
  with_lanes<T>(in.lanes, [&](auto lanes) {
    using V = Vec<T, lanes>;
    const Walk from = walk(in), into = walk(to);
    each_window(window, in, to, [&](int b, int y, int x, int top, int bottom, int left, int right) {
      V result = window.average ? V::zero() : V::load(map + from.at(b, top, left));
      for (int i = top; i < bottom; ++i)
        for (int j = left; j < right; ++j) {
          const V v = V::load(map + from.at(b, i, j));
          if (window.average)
            result += v;
          else
            result.v = beats(v, result) ? v.v : result.v;
        }
      if (window.average) result = result * V::all(T(1) / T((bottom - top) * (right - left)));
      result.store(out + into.at(b, y, x));
    });
  });
}

// grad_in += the gradient of the pooled map; of equal maxima the first in reading order takes it all.
template <class T>
inline void pool_gradient(const T* map, const Shape& in, const Window& window, const T* grad, const Shape& to,
                          T* grad_in) {
  with_lanes<T>(in.lanes, [&](auto lanes) {
    using V = Vec<T, lanes>;
    const Walk from = walk(in), into = walk(to);
    auto add = [&](int64_t at, V v) { (V::load(grad_in + at) + v).store(grad_in + at); };
    each_window(window, in, to, [&](int b, int y, int x, int top, int bottom, int left, int right) {
      const V g = V::load(grad + into.at(b, y, x));
      if (window.average) {
        const V share = g * V::all(T(1) / T((bottom - top) * (right - left)));
        for (int i = top; i < bottom; ++i)
          for (int j = left; j < right; ++j) add(from.at(b, i, j), share);
        return;
      }
      V best = V::load(map + from.at(b, top, left)), place = V::zero();
      for (int i = top; i < bottom; ++i)
        for (int j = left; j < right; ++j) {
          const V v = V::load(map + from.at(b, i, j)), here = V::all(T((i - top) * window.size + j - left));
          const auto better = beats(v, best);
          place.v = better ? here.v : place.v;
          best.v = better ? v.v : best.v;
        }
      for (int i = top; i < bottom; ++i)
        for (int j = left; j < right; ++j) {
          const V here = V::all(T((i - top) * window.size + j - left));
          add(from.at(b, i, j), V{place.v == here.v ? g.v : V::zero().v});
        }
    });
  });
}

}  // namespace pd
