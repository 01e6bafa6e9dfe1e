// Maps in blocks of channels, and the taps of convolutions over them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "simd.h"

namespace pd {

// One sample of a map: [blocks][height + 2 pad][width + 2 pad][lanes]. The last block is filled up with channels of
// zeros, which every operation keeps at zero.
struct Shape {
  int channels = 0, height = 0, width = 0, lanes = 1, pad = 0;

  int blocks() const { return (channels + lanes - 1) / lanes; }
  int filled() const { return blocks() * lanes; }
  int64_t row() const { return int64_t(width + 2 * pad) * lanes; }
  int64_t block() const { return row() * (height + 2 * pad); }
  int64_t size() const { return block() * blocks(); }
  int64_t origin() const { return pad * (row() + lanes); }
  int64_t pixels() const { return int64_t(height) * width; }
  Shape padded(int by) const {
    Shape s = *this;
    s.pad = by;
    return s;
  }
};

template <class T>
inline Shape make_shape(int channels, int height, int width) {
  return {channels, height, width, lanes_for<T>(channels), 0};
}

// Paddle's own layout is that of a map with one lane.
inline Shape as_planes(Shape s) {
  s.lanes = 1;
  return s;
}

// A convolution reads, for the output pixel (y, x), the input pixels (y stride_y + dy, x stride_x + dx).
struct Tap {
  int dy, dx;
};

struct Taps {
  std::vector<Tap> at;
  int stride_y = 1, stride_x = 1;
  int per_row = 1, apart = 1;  // taps come in rows of `per_row`, `apart` pixels from each other

  int count() const { return int(at.size()); }

  // Sets per_row and apart for taps that form a grid.
  void find_rows() {
    per_row = apart = 1;
    while (per_row < count() && at[per_row].dy == at[0].dy) ++per_row;
    if (per_row > 1) apart = at[1].dx - at[0].dx;
  }

  // The border that an input of `height` x `width` needs for an output of `out_height` x `out_width`.
  int border(int height, int width, int out_height, int out_width) const {
    int b = 0;
    for (Tap t : at) {
      b = std::max({b, -t.dy, -t.dx});
      b = std::max({b, (out_height - 1) * stride_y + t.dy - height + 1, (out_width - 1) * stride_x + t.dx - width + 1});
    }
    return b;
  }
};

// The transposed convolution, for the input pixels (q stride + phase): each is a sum over taps of stride 1 on the
// gradient of the output, with the weights `index` of the original taps.
struct Phase {
  int y, x;
  Taps taps;
  std::vector<int> index;
};

inline std::vector<Phase> transposed(const Taps& taps) {
  auto divides = [](int a, int b) { return a % b == 0; };
  std::vector<Phase> phases;
  for (int y = 0; y < taps.stride_y; ++y)
    for (int x = 0; x < taps.stride_x; ++x) {
      Phase phase{y, x, {}, {}};
      for (int t = 0; t < taps.count(); ++t)
        if (divides(y - taps.at[t].dy, taps.stride_y) && divides(x - taps.at[t].dx, taps.stride_x)) {
          phase.taps.at.push_back({(y - taps.at[t].dy) / taps.stride_y, (x - taps.at[t].dx) / taps.stride_x});
          phase.index.push_back(t);
        }
      // from left to right again, as loops over rows of taps expect it
      std::reverse(phase.taps.at.begin(), phase.taps.at.end());
      std::reverse(phase.index.begin(), phase.index.end());
      phase.taps.find_rows();
      phases.push_back(phase);
    }
  return phases;
}

// Pixels of a phase along one axis.
inline int phase_length(int length, int phase, int stride) { return (length - phase + stride - 1) / stride; }

// How a loop over a grid of pixels moves through a map: element (block, y, x) lies at the sum of the products.
struct Walk {
  int64_t origin, block, row, pixel;

  int64_t at(int b, int y, int x) const { return origin + b * block + y * row + x * pixel; }
};

inline Walk walk(const Shape& s, int stride_y = 1, int stride_x = 1, int y = 0, int x = 0) {
  return {s.origin() + y * s.row() + int64_t(x) * s.lanes, s.block(), s.row() * stride_y, int64_t(s.lanes) * stride_x};
}

}  // namespace pd
