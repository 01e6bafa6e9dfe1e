// Dense convolution (1x1 or any taps): each input channel is broadcast over the lanes of the output channels.
#pragma once

#include <utility>

#include "depthwise.h"

namespace pd {

template <class T, int L, int B, int N, class Pixel, class Put>
inline void dense_tile(const T* in, const Walk& from, Pixel pixel, int in_lanes, int in_channels,
                       const std::vector<int64_t>& offset, const T* weight, int64_t weight_block, Put put) {
  using V = Vec<T, L>;
  V sum[B][N];
  for (int b = 0; b < B; ++b)
    for (int n = 0; n < N; ++n) sum[b][n] = V::zero();
  for (int64_t tap : offset)
    for (int c = 0; c < in_channels; c += in_lanes) {
      const T* p = in + tap + c / in_lanes * from.block;
      const int count = std::min(in_lanes, in_channels - c);
      for (int l = 0; l < count; ++l, weight += L) {
        V w[B];
        for (int b = 0; b < B; ++b) w[b] = V::load(weight + b * weight_block);
        for (int n = 0; n < N; ++n) {
          const V x = V::all(p[n * pixel + l]);
          for (int b = 0; b < B; ++b) sum[b][n] += w[b] * x;
        }
      }
    }
  for (int b = 0; b < B; ++b)
    for (int n = 0; n < N; ++n) put(b, n, sum[b][n]);
}

// How many blocks of output channels to compute together when `left` remain: the more, the fewer broadcasts.
inline int dense_group(int left) { return left == 1 ? 1 : left == 2 || left == 4 ? 2 : 3; }

// The rows of the output blocks b + I, computed together.
template <class T, int L, class Pixel, class Put, int... I>
inline void dense_rows(std::integer_sequence<int, I...>, const T* in, const Walk& from, Pixel pixel, int in_lanes,
                       int in_channels, int b, int rows, int cols, const std::vector<int64_t>& offset, const T* weight,
                       Put put) {
  constexpr int kBlocks = sizeof...(I), kPixels = kBlocks == 1 ? kTile : kTile / 2;
  const int64_t weight_block = int64_t(offset.size()) * in_channels * L;
  for (int y = 0; y < rows; ++y) {
    const decltype(put(b, y)) row[] = {put(b + I, y)...};
    const T* p = in + from.at(0, y, 0);
    int x = 0;
    auto tiles = [&](auto size) {
      for (; x + size <= cols; x += size)
        dense_tile<T, L, kBlocks, size>(p + x * pixel, from, pixel, in_lanes, in_channels, offset,
                                        weight + b * weight_block, weight_block,
                                        [&](int i, int n, Vec<T, L> v) { row[i](x + n, v); });
    };
    tiles(std::integral_constant<int, kPixels>{});
    tiles(std::integral_constant<int, kPixels / 2>{});
    tiles(std::integral_constant<int, 1>{});
  }
}

// The sums over taps and input channels of weight * in; `put(block, y)` gives what takes the values of a row, (x, sum).
// `weight` is [blocks][taps][in_channels][L]; the input has `in_lanes` lanes.
template <class T, int L, class Put>
inline void dense(const T* in, const Walk& from, int in_lanes, int in_channels, int blocks, int rows, int cols,
                  const std::vector<int64_t>& offset, const T* weight, Put put) {
  with_distance<kSimdBytes / sizeof(T)>(from.pixel, [&](auto pixel) {
    for (int b = 0, group; b < blocks; b += group) {
      group = dense_group(blocks - b);
      auto together = [&](auto indices) {
        dense_rows<T, L>(indices, in, from, pixel, in_lanes, in_channels, b, rows, cols, offset, weight, put);
      };
      if (group == 1) together(std::integer_sequence<int, 0>{});
      if (group == 2) together(std::integer_sequence<int, 0, 1>{});
      if (group == 3) together(std::integer_sequence<int, 0, 1, 2>{});
    }
  });
}

// For N input channels that lie `channel` apart.
template <class T, int L, int B, int N, class Channel>
inline void dense_weight_tile(const T* in, const Walk& from, Channel channel, const T* grad, const Walk& to, int b,
                              int rows, int cols, T* sums, int64_t sums_block) {
  using V = Vec<T, L>;
  V sum[B][N];
  for (int i = 0; i < B; ++i)
    for (int n = 0; n < N; ++n) sum[i][n] = V::load(sums + i * sums_block + n * L);
  for (int y = 0; y < rows; ++y) {
    const T *p = in + y * from.row, *g = grad + to.at(b, y, 0);
    for (int x = 0; x < cols; ++x, p += from.pixel, g += to.pixel) {
      V gradient[B];
      for (int i = 0; i < B; ++i) gradient[i] = V::load(g + i * to.block);
      for (int n = 0; n < N; ++n) {
        const V value = V::all(p[n * channel]);
        for (int i = 0; i < B; ++i) sum[i][n] += gradient[i] * value;
      }
    }
  }
  for (int i = 0; i < B; ++i)
    for (int n = 0; n < N; ++n) sum[i][n].store(sums + i * sums_block + n * L);
}

// sums[block][tap][in channel] += sum over pixels of grad * in.
template <class T, int L>
inline void dense_weight_gradient(const T* in, const Walk& from, int in_lanes, int in_channels, const T* grad,
                                  const Walk& to, int blocks, int rows, int cols, const std::vector<int64_t>& offset,
                                  T* sums) {
  const int64_t sums_block = int64_t(offset.size()) * in_channels * L;
  int b = 0;
  // in planes, all channels are the same distance apart
  const int run = in_lanes == 1 ? in_channels : in_lanes;
  auto block_tiles = [&](auto group, auto channel) {
    for (; b + group <= blocks; b += group) {
      T* s = sums + b * sums_block;
      for (int64_t tap : offset)
        for (int c = 0; c < in_channels; c += run) {
          const T* p = in + from.origin + tap + c / in_lanes * from.block;
          const int count = std::min(run, in_channels - c);
          int l = 0;
          auto tiles = [&](auto size) {
            for (; l + size <= count; l += size, s += size * L)
              dense_weight_tile<T, L, group, size>(p + l * channel, from, channel, grad, to, b, rows, cols, s,
                                                   sums_block);
          };
          tiles(std::integral_constant<int, kTile / group>{});
          tiles(std::integral_constant<int, kTile / group / 2>{});
          tiles(std::integral_constant<int, 1>{});
        }
    }
  };
  auto all_blocks = [&](auto channel) {
    block_tiles(std::integral_constant<int, 2>{}, channel);
    block_tiles(std::integral_constant<int, 1>{}, channel);
  };
  if (in_lanes == 1)
    all_blocks(from.block);
  else
    all_blocks(std::integral_constant<int64_t, 1>{});
}

}  // namespace pd
