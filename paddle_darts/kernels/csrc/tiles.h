// 3x3 convolutions of stride 1 with fewer products: Winograd's minimal filtering F(4x4, 3x3) (Lavin & Gray, arXiv
// 1509.09308). A tile of 4x4 outputs is made of 36 values of which each is a product of its own, so that the
// convolution becomes 36 products of matrices with a quarter of the multiplications in all. The points of the
// interpolation are 0, infinity and the signed roots of 1/2 and 2: with them errors are about 4 times those of a plain
// sum in single precision, with the usual 1 and 2 about 10 times. Double precision, which is there to check, does
// without. What is not finite reaches all of its tile.
#pragma once

#include "simd.h"

namespace pd {

constexpr int kTileSide = 4, kTileValues = 36;

template <class T>
struct Points {
  static constexpr T small = T(0.70710678118654752440), large = T(1.41421356237309504880);
  static constexpr T small_cube = T(0.35355339059327376220), large_cube = T(2.82842712474619009760);
};

// The maps of one dimension: `apply` takes kFrom vectors to kTo. First six inputs to six values.
struct InputLine {
  static constexpr int kFrom = 6, kTo = 6;
  template <class T, int L>
  static inline void apply(const Vec<T, L>* d, Vec<T, L>* to) {
    using V = Vec<T, L>;
    using P = Points<T>;
    const V even1 = d[4] - V::all(2) * d[2], odd1 = V::all(P::small) * d[3] - V::all(P::large) * d[1];
    const V even2 = d[4] - V::all(0.5) * d[2], odd2 = V::all(P::large) * d[3] - V::all(P::small) * d[1];
    to[0] = (d[0] + d[4]) - V::all(2.5) * d[2];
    to[1] = even1 + odd1;
    to[2] = even1 - odd1;
    to[3] = even2 + odd2;
    to[4] = even2 - odd2;
    to[5] = (d[1] + d[5]) - V::all(2.5) * d[3];
  }
};

// Six products to four outputs.
struct OutputLine {
  static constexpr int kFrom = 6, kTo = 4;
  template <class T, int L>
  static inline void apply(const Vec<T, L>* m, Vec<T, L>* to) {
    using V = Vec<T, L>;
    using P = Points<T>;
    const V even1 = m[1] + m[2], odd1 = m[1] - m[2], even2 = m[3] + m[4], odd2 = m[3] - m[4];
    to[0] = m[0] + even1 + even2;
    to[1] = V::all(P::small) * odd1 + V::all(P::large) * odd2;
    to[2] = V::all(0.5) * even1 + V::all(2) * even2;
    to[3] = m[5] + V::all(P::small_cube) * odd1 + V::all(P::large_cube) * odd2;
  }
};

// Four gradients of outputs to those of six products.
struct OutputGradientLine {
  static constexpr int kFrom = 4, kTo = 6;
  template <class T, int L>
  static inline void apply(const Vec<T, L>* y, Vec<T, L>* to) {
    using V = Vec<T, L>;
    using P = Points<T>;
    const V even1 = y[0] + V::all(0.5) * y[2], odd1 = V::all(P::small) * y[1] + V::all(P::small_cube) * y[3];
    const V even2 = y[0] + V::all(2) * y[2], odd2 = V::all(P::large) * y[1] + V::all(P::large_cube) * y[3];
    to[0] = y[0];
    to[1] = even1 + odd1;
    to[2] = even1 - odd1;
    to[3] = even2 + odd2;
    to[4] = even2 - odd2;
    to[5] = y[3];
  }
};

// Three weights to six factors.
struct WeightLine {
  static constexpr int kFrom = 3, kTo = 6;
  template <class T, int L>
  static inline void apply(const Vec<T, L>* g, Vec<T, L>* to) {
    using V = Vec<T, L>;
    using P = Points<T>;
    const V third = V::all(T(1.0 / 3)) * g[2];
    const V even1 = V::all(T(-2.0 / 3)) * g[0] - third, odd1 = V::all(P::small * T(-2.0 / 3)) * g[1];
    const V even2 = V::all(T(1.0 / 6)) * g[0] + third, odd2 = V::all(P::large * T(1.0 / 6)) * g[1];
    to[0] = g[0];
    to[1] = even1 + odd1;
    to[2] = even1 - odd1;
    to[3] = even2 + odd2;
    to[4] = even2 - odd2;
    to[5] = g[2];
  }
};

// Six gradients of factors to those of three weights.
struct WeightGradientLine {
  static constexpr int kFrom = 6, kTo = 3;
  template <class T, int L>
  static inline void apply(const Vec<T, L>* m, Vec<T, L>* to) {
    using V = Vec<T, L>;
    using P = Points<T>;
    const V even1 = m[1] + m[2], odd1 = m[1] - m[2], even2 = m[3] + m[4], odd2 = m[3] - m[4];
    to[0] = m[0] + V::all(T(-2.0 / 3)) * even1 + V::all(T(1.0 / 6)) * even2;
    to[1] = V::all(P::small * T(-2.0 / 3)) * odd1 + V::all(P::large * T(1.0 / 6)) * odd2;
    to[2] = m[5] + V::all(T(1.0 / 3)) * (even2 - even1);
  }
};

// A line map along both axes: `load(y, x)` gives the vectors, `store(y, x, v)` takes them.
template <class Line, class T, int L, class Load, class Store>
inline void square(Load load, Store store) {
  using V = Vec<T, L>;
  V half[Line::kTo][Line::kFrom], from[Line::kFrom], to[Line::kTo];
#pragma GCC unroll 6
  for (int x = 0; x < Line::kFrom; ++x) {
#pragma GCC unroll 6
    for (int y = 0; y < Line::kFrom; ++y) from[y] = load(y, x);
    Line::apply(from, to);
#pragma GCC unroll 6
    for (int y = 0; y < Line::kTo; ++y) half[y][x] = to[y];
  }
#pragma GCC unroll 6
  for (int y = 0; y < Line::kTo; ++y) {
    Line::apply(half[y], to);
#pragma GCC unroll 6
    for (int x = 0; x < Line::kTo; ++x) store(y, x, to[x]);
  }
}

}  // namespace pd
