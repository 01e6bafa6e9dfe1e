// Dense 3x3 convolutions in tiles (see tiles.h): their values and their gradients.
#pragma once

#include "arena.h"
#include "geometry.h"
#include "tiles.h"

namespace pd {

// Whether anything is computed in tiles; otherwise what does it need not be compiled.
template <class T>
constexpr bool kTiles = sizeof(T) == 4;

// Whether a dense convolution from `in` to `out` is computed in tiles.
template <class T>
inline bool fits_tiles(const Taps& taps, const Shape& in, const Shape& out) {
  constexpr int kFewest = 8;  // channels, below which the way to the 36 values and back costs more than it saves
  if (!kTiles<T> || taps.count() != 9 || taps.stride_y != 1 || taps.stride_x != 1) return false;
  for (int t = 0; t < 9; ++t)
    if (taps.at[t].dy != t / 3 - 1 || taps.at[t].dx != t % 3 - 1) return false;
  return in.channels >= kFewest && out.channels >= kFewest && in.height == out.height && in.width == out.width &&
         in.height % kTileSide == 0 && in.width % kTileSide == 0;
}

// The tiles of several samples of one shape, counted through.
struct TileGrid {
  int height, width, cols, per_sample;

  explicit TileGrid(const Shape& s)
      : height(s.height), width(s.width), cols(s.width / kTileSide), per_sample(s.height / kTileSide * cols) {}
};

// How many samples to take at once, so that there are enough tiles to share what is read of the weights.
inline int samples_at_once(const Shape& s) { return std::max(1, 16 / TileGrid(s).per_sample); }

// How many tiles are in work at once, of `channels` in all: what belongs to them should stay in the nearer caches.
inline int strip_of_tiles(int channels, int64_t kilobytes, int total) {
  const int64_t bytes = int64_t(kTileValues) * channels * sizeof(float);
  return int(std::min<int64_t>(total, std::max<int64_t>(1, (kilobytes << 10) / bytes / kTile) * kTile));
}

// Where a tile lies in a map, for neighbouring tiles one after the other.
struct TileWalk {
  const TileGrid& grid;
  int sample, y, x;

  TileWalk(const TileGrid& grid, int tile)
      : grid(grid),
        sample(tile / grid.per_sample),
        y(tile % grid.per_sample / grid.cols * kTileSide),
        x(tile % grid.cols * kTileSide) {}

  void operator++() {
    if ((x += kTileSide) < grid.width) return;
    x = 0;
    if ((y += kTileSide) < grid.height) return;
    y = 0, ++sample;
  }
};

// [36][tiles][filled channels] <- the tiles first, ..., first + tiles - 1 of samples, by InputLine (what a tile of the
// output is computed from; the border must be one pixel at least) or OutputGradientLine.
template <class Line, class T>
inline void tile_values(const T* map, const Shape& s, const TileGrid& grid, int first, int tiles, T* values) {
  constexpr int kBefore = Line::kFrom > kTileSide;
  with_lanes<T>(s.lanes, [&](auto lanes) {
    using V = Vec<T, lanes>;
    const int n = s.filled();
    const int64_t apart = int64_t(tiles) * n, row = s.row();
    const Walk at = walk(s);
    TileWalk tile(grid, first);
    for (int i = 0; i < tiles; ++i, ++tile)
      for (int b = 0; b < s.blocks(); ++b) {
        const T* p = map + tile.sample * s.size() + at.at(b, tile.y - kBefore, tile.x - kBefore);
        T* to = values + int64_t(i) * n + b * lanes;
        square<Line, T, lanes>([=](int y, int x) { return V::load(p + y * row + x * lanes); },
                               [=](int y, int x, V v) { v.store(to + (y * 6 + x) * apart); });
      }
  });
}

// sums[n][block] = sum over c of values[n][c] * weight[block][c], for N tiles and B blocks of output channels.
template <class T, int L, int B, int N>
inline void tile_product(const T* values, int64_t tile, int channels, const T* weight, int64_t weight_block, T* sums,
                         int64_t sums_tile) {
  using V = Vec<T, L>;
  V sum[B][N];
  for (int b = 0; b < B; ++b)
    for (int n = 0; n < N; ++n) sum[b][n] = V::zero();
  for (int c = 0; c < channels; ++c) {
    V w[B];
    for (int b = 0; b < B; ++b) w[b] = V::load(weight + b * weight_block + c * L);
    for (int n = 0; n < N; ++n) {
      const V x = V::all(values[n * tile + c]);
      for (int b = 0; b < B; ++b) sum[b][n] += w[b] * x;
    }
  }
  for (int n = 0; n < N; ++n)
    for (int b = 0; b < B; ++b) sum[b][n].store(sums + n * sums_tile + b * L);
}

// Calls f with the number of blocks to compute together, until all `blocks` are: f(group, first block).
template <class F>
inline void groups_of_blocks(int blocks, F f) {
  int b = 0;
  auto groups = [&](auto size) {
    for (; b + size <= blocks; b += size) f(size, b);
  };
  if (blocks % 4 == 0) groups(std::integral_constant<int, 4>{});
  if (blocks % 3 == 0) groups(std::integral_constant<int, 3>{});
  groups(std::integral_constant<int, 2>{});
  groups(std::integral_constant<int, 1>{});
}

// [tiles][blocks][L] <- the products of [tiles][filled] values with weights [blocks][channels][L].
template <class T, int L>
inline void tile_products(const T* values, int tiles, int filled, int channels, const T* weight, int blocks, T* sums) {
  groups_of_blocks(blocks, [&](auto group, int b) {
    constexpr int kTiles = group == 1 ? kTile : group == 2 ? kTile / 2 : kTile / 4;
    int t = 0;
    auto runs = [&](auto size) {
      for (; t + size <= tiles; t += size)
        tile_product<T, L, group, size>(values + int64_t(t) * filled, filled, channels,
                                        weight + int64_t(b) * channels * L, int64_t(channels) * L,
                                        sums + (int64_t(t) * blocks + b) * L, int64_t(blocks) * L);
    };
    runs(std::integral_constant<int, kTiles>{});
    runs(std::integral_constant<int, kTiles / 2>{});
    runs(std::integral_constant<int, 1>{});
  });
}

// Weights of a dense 3x3 convolution as [blocks][9][channels][L] -> [36][blocks][channels][L].
template <class T>
inline void tile_weights(const T* packed, int lanes_of_out, int blocks, int channels, T* values) {
  with_lanes<T>(lanes_of_out, [&](auto lanes) {
    using V = Vec<T, lanes>;
    const int64_t tap = int64_t(channels) * lanes, apart = blocks * tap;
    for (int b = 0; b < blocks; ++b)
      for (int64_t c = 0; c < tap; c += lanes) {
        const T* p = packed + b * 9 * tap + c;
        T* to = values + b * tap + c;
        square<WeightLine, T, lanes>([=](int y, int x) { return V::load(p + (y * 3 + x) * tap); },
                                     [=](int y, int x, V v) { v.store(to + (y * 6 + x) * apart); });
      }
  });
}

// The convolution of `samples` neighbouring samples `in`, which have a border of zeros, with weights of tile_weights();
// `put(sample, block, y)` gives what takes the values of a row, (x, value).
template <class T, int L, class Put>
inline void tiled_conv(const T* in, const Shape& from, int samples, const T* weight, int blocks, Arena& scratch,
                       Put put) {
  using V = Vec<T, L>;
  Scope scope(scratch);
  const TileGrid grid(from);
  const int n = from.filled(), total = samples * grid.per_sample, strip = strip_of_tiles(n + blocks * L, 96, total);
  T* values = scratch.take<T>(int64_t(kTileValues) * strip * n);
  T* products = scratch.take<T>(int64_t(kTileValues) * strip * blocks * L);
  for (int first = 0; first < total; first += strip) {
    const int tiles = std::min(strip, total - first);
    tile_values<InputLine>(in, from, grid, first, tiles, values);
    const int64_t apart = int64_t(tiles) * blocks * L;
    for (int i = 0; i < kTileValues; ++i)
      tile_products<T, L>(values + int64_t(i) * tiles * n, tiles, n, from.channels,
                          weight + int64_t(i) * blocks * from.channels * L, blocks, products + i * apart);
    TileWalk tile(grid, first);
    for (int i = 0; i < tiles; ++i, ++tile)
      for (int b = 0; b < blocks; ++b) {
        const T* p = products + (int64_t(i) * blocks + b) * L;
        auto row = [&](int y) { return put(tile.sample, b, tile.y + y); };
        const decltype(row(0)) rows[] = {row(0), row(1), row(2), row(3)};
        square<OutputLine, T, L>([=](int y, int x) { return V::load(p + (y * 6 + x) * apart); },
                                 [&](int y, int x, V v) { rows[y](tile.x + x, v); });
      }
  }
}

// For B blocks of outputs and N input channels: sums [36][B][N][L] = the sums over tiles of grads * values.
template <class T, int L, int B, int N>
inline void tile_weight_products(const T* values, int64_t filled, const T* grads, int64_t grads_filled, int tiles,
                                 T* sums) {
  using V = Vec<T, L>;
  for (int i = 0; i < kTileValues; ++i, sums += B * N * L) {
    V sum[B][N];
    for (int b = 0; b < B; ++b)
      for (int n = 0; n < N; ++n) sum[b][n] = V::zero();
    for (int t = 0; t < tiles; ++t, values += filled, grads += grads_filled) {
      V g[B];
      for (int b = 0; b < B; ++b) g[b] = V::load(grads + b * L);
      for (int n = 0; n < N; ++n) {
        const V x = V::all(values[n]);
        for (int b = 0; b < B; ++b) sum[b][n] += g[b] * x;
      }
    }
    for (int b = 0; b < B; ++b)
      for (int n = 0; n < N; ++n) sum[b][n].store(sums + (b * N + n) * L);
  }
}

// Adds to the gradients of weights, [blocks][9][channels][L], what a strip of tiles gives to them: `values` are of the
// input, `grads` of the output's gradient.
template <class T, int L>
inline void tile_weight_gradient(const T* values, int filled, int channels, const T* grads, int blocks, int tiles,
                                 T* sums) {
  using V = Vec<T, L>;
  const int64_t tap = int64_t(channels) * L;
  groups_of_blocks(blocks, [&](auto group, int b) {
    constexpr int kChannels = group == 1 ? kTile : group == 2 ? kTile / 2 : kTile / 4;
    int c = 0;
    auto runs = [&](auto size) {
      T factors[kTileValues * group * size * L];
      constexpr int64_t kApart = group * size * L;
      for (; c + size <= channels; c += size) {
        tile_weight_products<T, L, group, size>(values + c, filled, grads + b * L, int64_t(blocks) * L, tiles, factors);
        for (int k = 0; k < group * size; ++k) {
          T* to = sums + (b + k / size) * 9 * tap + (c + k % size) * L;
          square<WeightGradientLine, T, L>(
              [&](int y, int x) { return V::load(factors + (y * 6 + x) * kApart + k * L); },
              [=](int y, int x, V v) { (V::load(to + (y * 3 + x) * tap) + v).store(to + (y * 3 + x) * tap); });
        }
      }
    };
    runs(std::integral_constant<int, kChannels>{});
    runs(std::integral_constant<int, kChannels / 2>{});
    runs(std::integral_constant<int, 1>{});
  });
}

// sums [blocks][9][channels][lanes] += what `samples` samples give to the gradients of the weights; `in` has a border
// of zeros, `grad` (of the output) may have one.
template <class T>
inline void tiled_weight_gradient(const T* in, const Shape& from, const T* grad, const Shape& to, int samples,
                                  Arena& scratch, T* sums) {
  Scope scope(scratch);
  const TileGrid grid(from);
  const int n = from.filled(), m = to.filled(), total = samples * grid.per_sample;
  const int strip = strip_of_tiles(n + m, 320, total);
  T* values = scratch.take<T>(int64_t(kTileValues) * strip * n);
  T* grads = scratch.take<T>(int64_t(kTileValues) * strip * m);
  for (int first = 0; first < total; first += strip) {
    const int tiles = std::min(strip, total - first);
    tile_values<InputLine>(in, from, grid, first, tiles, values);
    tile_values<OutputGradientLine>(grad, to, grid, first, tiles, grads);
    with_lanes<T>(to.lanes, [&](auto lanes) {
      tile_weight_gradient<T, lanes>(values, n, from.channels, grads, to.blocks(), tiles, sums);
    });
  }
}

}  // namespace pd
