// Between Paddle's [C, H, W] and maps in blocks of channels.
#pragma once

#include <cstring>

#include "geometry.h"

namespace pd {

template <class T>
inline void zero_border(T* map, const Shape& s) {
  if (!s.pad) return;
  const int64_t side = int64_t(s.pad) * s.lanes, row = s.row();
  for (int b = 0; b < s.blocks(); ++b) {
    T* p = map + b * s.block();
    std::memset(p, 0, sizeof(T) * s.pad * row);
    for (int y = s.pad; y < s.pad + s.height; ++y) {
      std::memset(p + y * row, 0, sizeof(T) * side);
      std::memset(p + (y + 1) * row - side, 0, sizeof(T) * side);
    }
    std::memset(p + (s.pad + s.height) * row, 0, sizeof(T) * s.pad * row);
  }
}

// The lanes of a and b in turns: of their first halves (half 0) or their second ones (half 1).
template <class T, int L>
inline Vec<T, L> interleaved(Vec<T, L> a, Vec<T, L> b, int half) {
  typedef typename std::conditional<sizeof(T) == 8, int64_t, int32_t>::type Index;
  typedef Index Mask __attribute__((vector_size(sizeof(T) * L)));
  Mask first, second;
  for (int i = 0; i < L; ++i) {
    first[i] = i / 2 + (i % 2 ? L : 0);
    second[i] = first[i] + L / 2;
  }
#ifdef __clang__
  Vec<T, L> r;
  for (int i = 0; i < L; ++i) r.v[i] = (i % 2 ? b : a).v[i / 2 + (half ? L / 2 : 0)];
  return r;
#else
  return {half ? __builtin_shuffle(a.v, b.v, second) : __builtin_shuffle(a.v, b.v, first)};
#endif
}

// Transposes L vectors of L lanes: as many rounds of interleaving row i with row i + L/2 as L has doublings.
template <class T, int L>
inline void transpose(Vec<T, L>* rows) {
  for (int round = 1; round < L; round *= 2) {
    Vec<T, L> next[L];
    for (int i = 0; i < L / 2; ++i) {
      next[2 * i] = interleaved(rows[i], rows[i + L / 2], 0);
      next[2 * i + 1] = interleaved(rows[i], rows[i + L / 2], 1);
    }
    for (int i = 0; i < L; ++i) rows[i] = next[i];
  }
}

// A block of channels [lanes][pixels] into [pixels][lanes]; `count` of the lanes are real channels.
template <class T, int L>
inline void block_from_planes(const T* planes, int64_t pixels, int count, T* map) {
  using V = Vec<T, L>;
  int64_t p = 0;
  for (; p + L <= pixels; p += L) {
    V rows[L];
    for (int l = 0; l < L; ++l) {
      rows[l] = l < count ? V::load(planes + l * pixels + p) : V::zero();
      // so many streams are more than the processor sees by itself
      if (l < count) __builtin_prefetch(planes + l * pixels + p + 8 * L);
    }
    transpose(rows);
    for (int i = 0; i < L; ++i) rows[i].store(map + (p + i) * L);
  }
  for (; p < pixels; ++p)
    for (int l = 0; l < L; ++l) map[p * L + l] = l < count ? planes[l * pixels + p] : T(0);
}

// The way back; lanes beyond `count` are left out.
template <class T, int L>
inline void block_to_planes(const T* map, int64_t pixels, int count, T* planes) {
  using V = Vec<T, L>;
  int64_t p = 0;
  for (; p + L <= pixels; p += L) {
    V rows[L];
    for (int i = 0; i < L; ++i) rows[i] = V::load(map + (p + i) * L);
    transpose(rows);
    for (int l = 0; l < count; ++l) rows[l].store(planes + l * pixels + p);
  }
  for (; p < pixels; ++p)
    for (int l = 0; l < count; ++l) planes[l * pixels + p] = map[p * L + l];
}

// [C, H, W] of one sample into an unpadded map.
template <class T>
inline void from_planes(const T* planes, const Shape& s, T* map) {
  with_lanes<T>(s.lanes, [&](auto lanes) {
    for (int b = 0; b < s.blocks(); ++b)
      block_from_planes<T, lanes>(planes + b * lanes * s.pixels(), s.pixels(),
                                  std::min<int>(lanes, s.channels - b * lanes), map + b * s.block());
  });
}

// An unpadded map of one sample into [C, H, W].
template <class T>
inline void to_planes(const T* map, const Shape& s, T* planes) {
  with_lanes<T>(s.lanes, [&](auto lanes) {
    for (int b = 0; b < s.blocks(); ++b)
      block_to_planes<T, lanes>(map + b * s.block(), s.pixels(), std::min<int>(lanes, s.channels - b * lanes),
                                planes + b * lanes * s.pixels());
  });
}

// A copy with a border of zeros, rectified or not.
template <class T>
inline void padded_copy(const T* map, const Shape& s, bool relu, T* out, const Shape& to) {
  zero_border(out, to);
  const Walk from = walk(s), into = walk(to);
  const int64_t row = s.row();
  for (int b = 0; b < s.blocks(); ++b)
    for (int y = 0; y < s.height; ++y) {
      const T* p = map + from.at(b, y, 0);
      T* q = out + into.at(b, y, 0);
      if (!relu)
        std::memcpy(q, p, sizeof(T) * row);
      else
        for (int64_t i = 0; i < row; ++i) q[i] = p[i] < T(0) ? T(0) : p[i];
    }
}

// grad = 0 where the value was rectified away.
template <class T>
inline void rectify_gradient(const T* value, int64_t count, T* grad) {
  for (int64_t i = 0; i < count; ++i) grad[i] = value[i] > T(0) ? grad[i] : T(0);
}

}  // namespace pd
