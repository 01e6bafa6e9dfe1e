// Weights between Paddle's [out, in, height, width] and the order in which the loops read them.
#pragma once

#include <cstring>

#include "geometry.h"

namespace pd {

// [channels][1][taps] -> [blocks][taps][lanes], taking the taps listed in `index`.
template <class T>
inline void pack_depthwise(const T* weight, int taps, const std::vector<int>& index, const Shape& s, T* packed) {
  for (int b = 0; b < s.blocks(); ++b)
    for (int t : index)
      for (int l = 0; l < s.lanes; ++l, ++packed) {
        const int c = b * s.lanes + l;
        *packed = c < s.channels ? weight[int64_t(c) * taps + t] : T(0);
      }
}

// The weights of a dense convolution: one tensor, or the two halves of a factorised reduction. Half h gives the output
// channels of its half and knows only tap h.
template <class T>
struct DenseWeights {
  const T* part[2];
  int out, in, taps;

  T at(int co, int ci, int t) const {
    if (!part[1]) return part[0][(int64_t(co) * in + ci) * taps + t];
    const int half = co >= out / 2;
    return t == half ? part[half][int64_t(co - half * (out / 2)) * in + ci] : T(0);
  }
};

// For the forward pass: [blocks of out][taps][in][lanes of out].
template <class T>
inline void pack_dense(const DenseWeights<T>& w, const Shape& out, T* packed) {
  for (int b = 0; b < out.blocks(); ++b)
    for (int t = 0; t < w.taps; ++t)
      for (int c = 0; c < w.in; ++c)
        for (int l = 0; l < out.lanes; ++l, ++packed) {
          const int co = b * out.lanes + l;
          *packed = co < w.out ? w.at(co, c, t) : T(0);
        }
}

// For the gradient of the input: [blocks of in][taps in `index`][out of all parts][lanes of in].
template <class T>
inline void pack_dense_transposed(const std::vector<DenseWeights<T>>& parts, const std::vector<int>& index,
                                  const Shape& in, T* packed) {
  for (int b = 0; b < in.blocks(); ++b)
    for (int t : index)
      for (const DenseWeights<T>& w : parts)
        for (int co = 0; co < w.out; ++co)
          for (int l = 0; l < in.lanes; ++l, ++packed) {
            const int ci = b * in.lanes + l;
            *packed = ci < w.in ? w.at(co, ci, t) : T(0);
          }
}

template <class T>
inline void unpack_depthwise(const T* packed, int taps, const Shape& s, T* weight) {
  for (int c = 0; c < s.channels; ++c)
    for (int t = 0; t < taps; ++t)
      weight[int64_t(c) * taps + t] = packed[(int64_t(c / s.lanes) * taps + t) * s.lanes + c % s.lanes];
}

// The gradients of the parts of a dense convolution; a part that is null is left out.
template <class T>
inline void unpack_dense(const T* packed, int in, int taps, bool halves, const Shape& out, T* const* part) {
  auto at = [&](int co, int ci, int t) {
    return packed[((int64_t(co / out.lanes) * taps + t) * in + ci) * out.lanes + co % out.lanes];
  };
  if (!halves) {
    if (!part[0]) return;
    for (int co = 0; co < out.channels; ++co)
      for (int ci = 0; ci < in; ++ci)
        for (int t = 0; t < taps; ++t) part[0][(int64_t(co) * in + ci) * taps + t] = at(co, ci, t);
    return;
  }
  const int size = out.channels / 2;
  for (int half = 0; half < 2; ++half)
    if (part[half])
      for (int co = 0; co < size; ++co)
        for (int ci = 0; ci < in; ++ci) part[half][int64_t(co) * in + ci] = at(half * size + co, ci, half);
}

}  // namespace pd
