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

// A block of channels [lanes][pixels] against [pixels][lanes]; `count` of the lanes are real channels.
template <class T, int L>
inline void block_from_planes(const T* planes, int64_t pixels, int count, T* map) {
  constexpr int kRun = 16;
  for (int64_t p = 0; p < pixels; p += kRun) {
    const int n = int(std::min<int64_t>(kRun, pixels - p));
    T tile[kRun * L];
    for (int l = 0; l < L; ++l)
      for (int i = 0; i < n; ++i) tile[i * L + l] = l < count ? planes[l * pixels + p + i] : T(0);
    std::memcpy(map + p * L, tile, sizeof(T) * n * L);
  }
}

template <class T, int L>
inline void block_to_planes(const T* map, int64_t pixels, int count, T* planes) {
  constexpr int kRun = 16;
  for (int64_t p = 0; p < pixels; p += kRun) {
    const int n = int(std::min<int64_t>(kRun, pixels - p));
    for (int l = 0; l < count; ++l)
      for (int i = 0; i < n; ++i) planes[l * pixels + p + i] = map[(p + i) * L + l];
  }
}

// [C, H, W] of one sample into an unpadded map.
template <class T>
inline void from_planes(const T* planes, const Shape& s, T* map) {
  with_lanes<T>(s.lanes, [&](auto lanes) {
    for (int b = 0; b < s.blocks(); ++b)
      block_from_planes<T, lanes>(planes + b * lanes * s.pixels(), s.pixels(), std::min<int>(lanes, s.channels - b * lanes),
                                  map + b * s.block());
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
  with_lanes<T>(s.lanes, [&](auto lanes) {
    using V = Vec<T, lanes>;
    const Walk from = walk(s), into = walk(to);
    for (int b = 0; b < s.blocks(); ++b)
      for (int y = 0; y < s.height; ++y) {
        const T* p = map + from.at(b, y, 0);
        T* q = out + into.at(b, y, 0);
        for (int x = 0; x < s.width; ++x) {
          const V v = V::load(p + x * lanes);
          (relu ? rectified(v) : v).store(q + x * lanes);
        }
      }
  });
}

}  // namespace pd
