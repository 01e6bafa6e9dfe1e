// What is to be computed: maps, and steps that add something of one map to another. Written by plan.py.
#pragma once

#include <stdexcept>

#include "geometry.h"
#include "pool.h"
#include "tiled_conv.h"

namespace pd {

constexpr int64_t kPlanVersion = 2;

struct Stage {
  bool relu;
  int channels, norm;
  int depthwise;  // parameter, or -1
  Taps depthwise_taps;
  int dense[2];  // parameters; the second is -1 unless the stage is a factorised reduction
  Taps dense_taps;
  Shape in, mid, out;  // mid: what the depthwise convolution gives
  bool tiled;          // computed by tiled_conv.h

  bool halves() const { return dense[1] >= 0; }
  // How many samples to take at once.
  int samples() const { return tiled ? samples_at_once(out) : 1; }
  const Taps& first_taps() const { return depthwise >= 0 ? depthwise_taps : dense_taps; }
  const Shape& first_out() const { return depthwise >= 0 ? mid : out; }
  int border() const { return first_taps().border(in.height, in.width, first_out().height, first_out().width); }
};

enum class Kind { kSum, kConstant, kPool, kConv, kMasked };

struct Step {
  Kind kind;
  int source, target;
  int coefficient, scale;  // -1: 1
  // kSum: target channel (target_first + i target_step) takes source channel (source_first + i source_step)
  int source_first, source_step, target_first, target_step, count;
  Window window;  // kPool
  int norm;       // kPool
  int mask;       // kMasked: an input
  std::vector<Stage> stages;

  // Whether it is a single dense convolution.
  bool joins() const { return stages.size() == 1 && stages[0].depthwise < 0 && !stages[0].halves(); }
};

struct Plan {
  int inputs, params, norms;
  std::vector<Shape> maps;
  std::vector<int> outputs, gamma, beta;
  std::vector<Shape> norm_shape;
  std::vector<Step> steps;
  std::vector<std::vector<int>> units;  // steps that are taken together, in the order of taking
  std::vector<bool> hidden;             // pooled maps: cheap to compute again, so not kept for the backward pass
  // Of the inputs: whether the first convolution that reads it rectifies it, and whether it stays in Paddle's layout
  // (if only dense convolutions read it, none of them in tiles, and all of them rectify it or none does: the gradient
  // passes the ReLU once, at the end).
  std::vector<bool> rectified, in_planes;
};

inline void place_inputs(Plan& plan) {
  std::vector<bool> seen(plan.maps.size());
  plan.rectified.resize(plan.maps.size());
  plan.in_planes.assign(plan.inputs, true);
  plan.in_planes.resize(plan.maps.size());
  for (int m : plan.outputs) plan.in_planes[m] = false;
  for (const Step& s : plan.steps) {
    if (s.kind == Kind::kConv && !seen[s.source]) seen[s.source] = true, plan.rectified[s.source] = s.stages[0].relu;
    const bool planes = s.kind == Kind::kConv && s.stages[0].depthwise < 0 && !s.stages[0].tiled &&
                        s.stages[0].relu == plan.rectified[s.source];
    if (!planes) plan.in_planes[s.source] = false;
    if (s.kind == Kind::kMasked) plan.in_planes[s.mask] = false;
  }
}

// Single dense convolutions of one map are taken together (see joint_conv.h), at the place of the first: what a step
// reads is complete before any step reads it, so they may all come earlier. Other steps are taken one by one.
inline void find_units(Plan& plan) {
  std::vector<int> place(2 * plan.maps.size(), -1);  // of the unit of a source, rectified or not
  for (int i = 0; i < int(plan.steps.size()); ++i) {
    const Step& s = plan.steps[i];
    if (s.kind != Kind::kConv || !s.joins()) {
      plan.units.push_back({i});
      continue;
    }
    int& unit = place[2 * s.source + s.stages[0].relu];
    if (unit < 0) unit = int(plan.units.size()), plan.units.push_back({});
    plan.units[unit].push_back(i);
  }
}

class Reader {
 public:
  explicit Reader(const int64_t* p) : p_(p) {}
  int next() { return int(*p_++); }

 private:
  const int64_t* p_;
};

struct Window2d {
  int height, width, stride_y, stride_x, dilation, pad_y, pad_x;

  explicit Window2d(Reader& r)
      : height(r.next()),
        width(r.next()),
        stride_y(r.next()),
        stride_x(r.next()),
        dilation(r.next()),
        pad_y(r.next()),
        pad_x(r.next()) {}

  Taps taps() const {
    Taps t{{}, stride_y, stride_x};
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x) t.at.push_back({y * dilation - pad_y, x * dilation - pad_x});
    t.find_rows();
    return t;
  }
  int out_height(int in) const { return out_length(in + 2 * pad_y - dilation * (height - 1), stride_y); }
  int out_width(int in) const { return out_length(in + 2 * pad_x - dilation * (width - 1), stride_x); }
  static int out_length(int positions, int stride) { return positions < 1 ? 0 : (positions - 1) / stride + 1; }
};

template <class T>
inline Stage read_stage(Reader& r, const Shape& in) {
  Stage s;
  s.relu = r.next();
  s.channels = r.next();
  s.norm = r.next();
  s.depthwise = r.next();
  const Window2d first(r);
  s.dense[0] = r.next();
  s.dense[1] = r.next();
  const Window2d second(r);
  s.in = s.mid = in;
  if (s.depthwise >= 0) {
    s.depthwise_taps = first.taps();
    s.mid = make_shape<T>(in.channels, first.out_height(in.height), first.out_width(in.width));
  }
  if (s.halves()) {
    s.dense_taps = {{{0, 0}, {1, 1}}, 2, 2};
    s.out = make_shape<T>(s.channels, (s.mid.height + 1) / 2, (s.mid.width + 1) / 2);
  } else {
    s.dense_taps = second.taps();
    s.out = make_shape<T>(s.channels, second.out_height(s.mid.height), second.out_width(s.mid.width));
  }
  s.tiled = s.depthwise < 0 && !s.halves() && fits_tiles<T>(s.dense_taps, s.in, s.out);
  return s;
}

// Reads a program for inputs of the given [height, width] pairs.
template <class T>
inline Plan read_plan(const int64_t* program, const int64_t* sizes) {
  Reader r(program);
  if (r.next() != kPlanVersion) throw std::invalid_argument("the plan was written for other kernels");
  Plan plan;
  plan.inputs = r.next();
  const int maps = r.next(), steps = r.next(), outputs = r.next();
  plan.params = r.next();
  plan.norms = r.next();
  std::vector<int> channels;
  for (int m = 0; m < maps; ++m) channels.push_back(r.next());
  for (int o = 0; o < outputs; ++o) plan.outputs.push_back(r.next());
  for (int n = 0; n < plan.norms; ++n) plan.gamma.push_back(r.next()), plan.beta.push_back(r.next());
  plan.maps.resize(maps);
  plan.hidden.resize(maps);
  plan.norm_shape.resize(plan.norms);
  for (int m = 0; m < plan.inputs; ++m)
    plan.maps[m] = make_shape<T>(channels[m], int(sizes[2 * m]), int(sizes[2 * m + 1]));

  for (int i = 0; i < steps; ++i) {
    Step s{};
    s.kind = Kind(r.next());
    s.source = r.next();
    s.target = r.next();
    s.coefficient = r.next();
    s.scale = r.next();
    s.norm = -1;
    const Shape& in = plan.maps[s.source];
    if (!in.channels) throw std::invalid_argument("a map is read that no step has filled");
    int height = in.height, width = in.width;
    if (s.kind == Kind::kSum) {
      s.source_first = r.next(), s.source_step = r.next();
      s.target_first = r.next(), s.target_step = r.next(), s.count = r.next();
    } else if (s.kind == Kind::kConstant || s.kind == Kind::kPool) {
      if (s.kind == Kind::kPool) s.window.average = r.next(), s.window.size = r.next();
      const int stride = r.next();
      if (s.kind == Kind::kPool) s.window.stride = stride, s.window.pad = r.next(), s.norm = r.next();
      height = (height + stride - 1) / stride, width = (width + stride - 1) / stride;
      if (s.kind == Kind::kPool) plan.hidden[s.target] = true;
    } else if (s.kind == Kind::kMasked) {
      s.mask = r.next();
      const Shape& mask = plan.maps[s.mask];
      if (mask.channels != in.channels || mask.height != height || mask.width != width)
        throw std::invalid_argument("a mask has another size than its map");
    } else {
      const int count = r.next();
      for (int k = 0; k < count; ++k) {
        s.stages.push_back(read_stage<T>(r, k ? s.stages.back().out : in));
        if (s.stages.back().norm >= 0) plan.norm_shape[s.stages.back().norm] = s.stages.back().out;
      }
      height = s.stages.back().out.height, width = s.stages.back().out.width;
    }
    Shape& out = plan.maps[s.target];
    if (height < 1 || width < 1) throw std::invalid_argument("a kernel is larger than the padded map that it reads");
    if (!out.channels) out = make_shape<T>(channels[s.target], height, width);
    if (out.height != height || out.width != width) throw std::invalid_argument("maps of different sizes are added");
    if (s.norm >= 0) plan.norm_shape[s.norm] = out;
    plan.steps.push_back(std::move(s));
  }
  for (int m : plan.outputs) {
    const Shape &first = plan.maps[plan.outputs[0]], &other = plan.maps[m];
    if (!other.channels) throw std::invalid_argument("a map is put out that no step has filled");
    if (first.height != other.height || first.width != other.width)
      throw std::invalid_argument("maps of different sizes are put out");
  }
  for (const Shape& s : plan.maps)
    if (!s.channels) throw std::invalid_argument("there is a map that no step fills");
  place_inputs(plan);
  find_units(plan);
  return plan;
}

}  // namespace pd
