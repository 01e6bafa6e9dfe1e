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
  // The output pixels, of `length`, whose windows hold the input pixel `i`.
  int first_over(int i) const { return std::max(0, (i + pad - size + stride) / stride); }
  int last_over(int i, int length) const { return std::min(length, (i + pad) / stride + 1); }
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

// The sum of some rows of `count` values, each with a weight, into `sum`.
template <class T, class Weight>
inline void sum_rows(const T* rows, int64_t apart, int first, int last, int64_t count, Weight weight, T* sum) {
  std::fill(sum, sum + count, T(0));
  for (int r = first; r < last; ++r) {
    const T *p = rows + r * apart, w = weight(r);
    for (int64_t i = 0; i < count; ++i) sum[i] += w * p[i];
  }
}

// Averages of windows, first along the columns, then along the rows.
template <class T>
inline void average_pool(const T* map, const Shape& in, const Window& w, T* out, const Shape& to) {
  std::vector<T> line(in.row());
  with_lanes<T>(in.lanes, [&](auto lanes) {
    using V = Vec<T, lanes>;
    for (int b = 0; b < to.blocks(); ++b)
      for (int y = 0; y < to.height; ++y) {
        const int top = w.first(y), bottom = w.last(y, in.height);
        sum_rows(map + b * in.block(), in.row(), top, bottom, in.row(), [](int) { return T(1); }, line.data());
        T* row = out + b * to.block() + y * to.row();
        for (int x = 0; x < to.width; ++x) {
          const int left = w.first(x), right = w.last(x, in.width);
          V sum = V::load(line.data() + left * lanes);
          for (int i = left + 1; i < right; ++i) sum += V::load(line.data() + i * lanes);
          (sum * V::all(T(1) / T((bottom - top) * (right - left)))).store(row + x * lanes);
        }
      }
  });
}

// grad_in += the gradient of average_pool().
template <class T>
inline void average_pool_gradient(const Shape& in, const Window& w, const T* grad, const Shape& to, T* grad_in) {
  std::vector<T> line(to.row());
  with_lanes<T>(in.lanes, [&](auto lanes) {
    using V = Vec<T, lanes>;
    for (int b = 0; b < to.blocks(); ++b)
      for (int y = 0; y < in.height; ++y) {
        const auto share = [&](int o) { return T(1) / T(w.last(o, in.height) - w.first(o)); };
        sum_rows(grad + b * to.block(), to.row(), w.first_over(y), w.last_over(y, to.height), to.row(), share,
                 line.data());
        for (int x = 0; x < to.width; ++x) {
          T* p = line.data() + x * lanes;
          (V::load(p) * V::all(T(1) / T(w.last(x, in.width) - w.first(x)))).store(p);
        }
        T* row = grad_in + b * in.block() + y * in.row();
        for (int x = 0; x < in.width; ++x) {
          V sum = V::load(row + x * lanes);
          for (int o = w.first_over(x); o < w.last_over(x, to.width); ++o) sum += V::load(line.data() + o * lanes);
          sum.store(row + x * lanes);
        }
      }
  });
}

template <class T>
inline void pool(const T* map, const Shape& in, const Window& window, T* out, const Shape& to) {
  if (window.average) return average_pool(map, in, window, out, to);
  with_lanes<T>(in.lanes, [&](auto lanes) {
    using V = Vec<T, lanes>;
    const Walk from = walk(in), into = walk(to);
    each_window(window, in, to, [&](int b, int y, int x, int top, int bottom, int left, int right) {
      V result = V::load(map + from.at(b, top, left));
      for (int i = top; i < bottom; ++i)
        for (int j = left; j < right; ++j) {
          const V v = V::load(map + from.at(b, i, j));
          result.v = beats(v, result) ? v.v : result.v;
        }
      result.store(out + into.at(b, y, x));
    });
  });
}

// grad_in += the gradient of the pooled map; of equal maxima the first in reading order takes it all.
template <class T>
inline void pool_gradient(const T* map, const Shape& in, const Window& window, const T* grad, const Shape& to,
                          T* grad_in) {
  if (window.average) return average_pool_gradient(in, window, grad, to, grad_in);
  with_lanes<T>(in.lanes, [&](auto lanes) {
    using V = Vec<T, lanes>;
    const Walk from = walk(in), into = walk(to);
    auto add = [&](int64_t at, V v) { (V::load(grad_in + at) + v).store(grad_in + at); };
    each_window(window, in, to, [&](int b, int y, int x, int top, int bottom, int left, int right) {
      const V g = V::load(grad + into.at(b, y, x));
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
