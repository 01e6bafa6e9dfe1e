// Depthwise convolution: lanes are channels, so that any size, stride and dilation vectorises alike.
#pragma once

#include "geometry.h"

namespace pd {

// Element offsets of taps in a map.
inline std::vector<int64_t> offsets(const Taps& taps, const Shape& s) {
  std::vector<int64_t> result;
  for (Tap t : taps.at) result.push_back(t.dy * s.row() + int64_t(t.dx) * s.lanes);
  return result;
}

// Calls f with the distance between neighbouring pixels, as a constant where it is a common one: constant distances
// cost no instructions.
template <int L, class F>
inline void with_distance(int64_t distance, F f) {
  if (distance == L) return f(std::integral_constant<int64_t, L>{});
  if (distance == 2 * L) return f(std::integral_constant<int64_t, 2 * L>{});
  f(distance);
}

// N neighbouring sums, for any taps.
template <class T, int L, int N, class Pixel, class Put>
inline void depthwise_tile(const T* in, Pixel pixel, const int64_t* offset, int taps, const T* weight, Put put) {
  using V = Vec<T, L>;
  V sum[N];
  for (int n = 0; n < N; ++n) sum[n] = V::zero();
  for (int t = 0; t < taps; ++t) {
    const V w = V::load(weight + t * L);
    const T* p = in + offset[t];
    for (int n = 0; n < N; ++n) sum[n] += w * V::load(p + n * pixel);
  }
  for (int n = 0; n < N; ++n) put(n, sum[n]);
}

// N neighbouring sums of stride 1, for rows of C taps D pixels apart: every input is loaded once per row of taps.
template <class T, int L, int N, int C, int D, class Put>
inline void depthwise_row_tile(const T* in, const int64_t* offset, int taps, const T* weight, Put put) {
  using V = Vec<T, L>;
  V sum[N];
  for (int n = 0; n < N; ++n) sum[n] = V::zero();
  for (int t = 0; t < taps; t += C) {
    const T* p = in + offset[t];
    V x[N + (C - 1) * D];
    for (int i = 0; i < N + (C - 1) * D; ++i) x[i] = V::load(p + i * L);
    for (int c = 0; c < C; ++c) {
      const V w = V::load(weight + (t + c) * L);
      for (int n = 0; n < N; ++n) sum[n] += w * x[n + c * D];
    }
  }
  for (int n = 0; n < N; ++n) put(n, sum[n]);
}

// One row of sums by the given tile function: f(pixels at once, first pixel).
template <class F>
inline void row_of_tiles(int cols, F f) {
  int x = 0;
  auto tiles = [&](auto size) {
    for (; x + size <= cols; x += size) f(size, x);
  };
  tiles(std::integral_constant<int, kTile / 2>{});
  tiles(std::integral_constant<int, kTile / 4>{});
  tiles(std::integral_constant<int, 1>{});
}

// The sums over taps of weight * in, over a grid of rows x cols pixels; `put(block, y)` gives what takes the values of
// a row, (x, sum). `weight` is [blocks][taps][L]; `s` is the shape of the input.
template <class T, int L, class Put>
inline void depthwise(const T* in, const Walk& from, int blocks, int rows, int cols, const Taps& taps, const Shape& s,
                      const T* weight, Put put) {
  const std::vector<int64_t> offset = offsets(taps, s);
  const int count = taps.count();
  auto each_row = [&](auto tile) {
    for (int b = 0; b < blocks; ++b)
      for (int y = 0; y < rows; ++y) {
        const auto row = put(b, y);
        const T *p = in + from.at(b, y, 0), *w = weight + int64_t(b) * count * L;
        row_of_tiles(cols, [&](auto size, int x) {
          tile(size, p + x * from.pixel, w, [&](int n, Vec<T, L> v) { row(x + n, v); });
        });
      }
  };
  auto by_rows_of = [&](auto per_row, auto apart) {
    each_row([&](auto size, const T* p, const T* w, auto put_tile) {
      depthwise_row_tile<T, L, size, per_row, apart>(p, offset.data(), count, w, put_tile);
    });
  };
  if constexpr (L == kSimdBytes / sizeof(T)) {
    using One = std::integral_constant<int, 1>;
    using Two = std::integral_constant<int, 2>;
    using Three = std::integral_constant<int, 3>;
    using Five = std::integral_constant<int, 5>;
    const int form = from.pixel == L ? 10 * taps.per_row + taps.apart : 0;
    if (form == 31) return by_rows_of(Three{}, One{});
    if (form == 32) return by_rows_of(Three{}, Two{});
    if (form == 51) return by_rows_of(Five{}, One{});
    if (form == 52) return by_rows_of(Five{}, Two{});
  }
  with_distance<L>(from.pixel, [&](auto pixel) {
    each_row([&](auto size, const T* p, const T* w, auto put_tile) {
      depthwise_tile<T, L, size>(p, pixel, offset.data(), count, w, put_tile);
    });
  });
}

// sums[r][c] += sum over pixels of grad * in, for R rows of C taps that are `distance` apart in a row.
template <class T, int L, int R, int C, class Distance>
inline void depthwise_weight_tile(const T* in, const Walk& from, const T* grad, const Walk& to, int rows, int cols,
                                  const int64_t* offset, Distance distance, T* sums) {
  using V = Vec<T, L>;
  V sum[R][C];
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) sum[r][c] = V::load(sums + (r * C + c) * L);
  for (int y = 0; y < rows; ++y) {
    const T *p = in + y * from.row, *g = grad + y * to.row;
    for (int x = 0; x < cols; ++x, p += from.pixel, g += to.pixel) {
      const V gradient = V::load(g);
      for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) sum[r][c] += gradient * V::load(p + offset[r * C] + c * distance);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) sum[r][c].store(sums + (r * C + c) * L);
}

// sums[block][tap] += sum over pixels of grad * in.
template <class T, int L>
inline void depthwise_weight_gradient(const T* in, const Walk& from, const T* grad, const Walk& to, int blocks,
                                      int rows, int cols, const Taps& taps, const Shape& s, T* sums) {
  const std::vector<int64_t> offset = offsets(taps, s);
  const int count = taps.count();
  with_distance<L>(int64_t(taps.apart) * L, [&](auto distance) {
    for (int b = 0; b < blocks; ++b) {
      const T *p = in + from.at(b, 0, 0), *g = grad + to.at(b, 0, 0);
      T* own = sums + int64_t(b) * count * L;
      int t = 0;
      auto tiles = [&](auto tap_rows, auto tap_cols) {
        for (; t + tap_rows * tap_cols <= count; t += tap_rows * tap_cols)
          depthwise_weight_tile<T, L, tap_rows, tap_cols>(p, from, g, to, rows, cols, offset.data() + t, distance,
                                                          own + t * L);
      };
      auto row_tiles = [&](auto tap_cols) {
        constexpr int kRows = kTile / tap_cols;
        if constexpr (kRows > 1) tiles(std::integral_constant<int, kRows>{}, tap_cols);
        if constexpr (kRows > 2) tiles(std::integral_constant<int, 2>{}, tap_cols);
        tiles(std::integral_constant<int, 1>{}, tap_cols);
      };
      if (taps.per_row == 3) row_tiles(std::integral_constant<int, 3>{});
      if (taps.per_row == 5) row_tiles(std::integral_constant<int, 5>{});
      if (taps.per_row == 7) row_tiles(std::integral_constant<int, 7>{});
      tiles(std::integral_constant<int, 1>{}, std::integral_constant<int, 1>{});
    }
  });
}

}  // namespace pd
