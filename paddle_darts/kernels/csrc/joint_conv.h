// Single dense convolutions that read one map, computed together: the map is read once, convolutions of one form stand
// side by side as a wider one, and the gradients of the map are added up while they are near.
#pragma once

#include "conv_gradient.h"

namespace pd {

// One of them.
template <class T>
struct Member {
  const Step* step;
  T* samples = nullptr;  // per sample: moments in the forward pass, gradient_sums in the backward pass
  T* sums = nullptr;     // of gradient_sums over the batch

  const Stage& stage() const { return step->stages[0]; }
};

// Those of one form; the blocks of their outputs follow each other.
template <class T>
struct Wide {
  Stage stage;  // of all of them
  Shape part;   // of the output of one
  std::vector<Member<T>> members;
  T* weight = nullptr;
  Batch<T> out;

  const T* out_of(int member, int64_t sample) const { return out.at(sample) + member * part.size(); }

  bool takes(const Stage& s) const {
    const auto same = [](Tap a, Tap b) { return a.dy == b.dy && a.dx == b.dx; };
    const Taps &a = s.dense_taps, &b = stage.dense_taps;
    return s.out.channels == part.channels && part.channels == part.filled() && a.stride_y == b.stride_y &&
           a.stride_x == b.stride_x && std::equal(a.at.begin(), a.at.end(), b.at.begin(), b.at.end(), same);
  }
};

template <class T>
class JointConv {
 public:
  // In the backward pass those whose target needs no gradient are left out.
  JointConv(Run<T>& run, const std::vector<int>& steps) : run_(run), scope_(run.arena) {
    for (int i : steps) {
      const Step& s = run.plan.steps[i];
      if (run.grads.empty() || run.grads[s.target].data) place(s);
    }
    for (Wide<T>& w : wides_) {
      border_ = std::max(border_, w.stage.border());
      together_ = std::max(together_, w.stage.samples());
      w.out = run.take(w.stage.out);
      pack(w);
      for (Member<T>& m : w.members) m.samples = run.arena.template take<T>(run.batch * 2 * w.part.filled());
    }
  }

  void forward() {
    values([&](Wide<T>& w, int i, int64_t b) {
      if (w.members[i].stage().norm >= 0 && run_.call.training)
        moments(w.out_of(i, b), w.part, w.members[i].samples + b * 2 * w.part.filled());
    });
    for (Wide<T>& w : wides_)
      for (Member<T>& m : w.members)
        if (m.stage().norm >= 0 && run_.call.training) run_.join(m.stage().norm, m.samples);
    run_.each_sample([&](int64_t b, Arena&) {
      for (const Wide<T>& w : wides_)
        for (int i = 0; i < int(w.members.size()); ++i) {
          const Step& s = *w.members[i].step;
          add_normalised(w.out_of(i, b), w.part, run_.norm(s.stages[0].norm), run_.coefficient(s) * run_.scale(s, b),
                         run_.maps[s.target].at(b));
        }
    });
  }

  void backward(T* grad_coefficients) {
    if (wides_.empty()) return;
    values([&](Wide<T>& w, int i, int64_t b) {
      const Step& s = *w.members[i].step;
      const int n = w.part.filled();
      T* sums = w.members[i].samples + b * 2 * n;
      gradient_sums(run_.grads[s.target].at(b), w.out_of(i, b), w.part, run_.norm(s.stages[0].norm), sums);
      const T scale = run_.scale(s, b);
      for (int c = 0; c < 2 * n; ++c) sums[c] *= scale;
    });
    bool wanted = onward();
    for (Wide<T>& w : wides_)
      for (Member<T>& m : w.members) {
        const Step& s = *m.step;
        finish_sums(w, m);
        if (grad_coefficients && s.coefficient >= 0)
          grad_coefficients[s.coefficient] += coefficient_gradient(m.sums, w.part, run_.norm(s.stages[0].norm));
        wanted = wanted || run_.grad_param(s.stages[0].dense[0]);
      }
    if (wanted) gradients();
  }

 private:
  Run<T>& run_;
  Scope scope_;
  std::vector<Wide<T>> wides_;
  int border_ = 0, together_ = 1;

  const Step& first() const { return *wides_[0].members[0].step; }
  bool relu() const { return wides_[0].stage.relu; }
  bool onward() const { return run_.grads[first().source].data; }

  void place(const Step& s) {
    const Stage& stage = s.stages[0];
    for (Wide<T>& w : wides_)
      if (w.takes(stage)) {
        w.members.push_back({&s});
        w.stage.channels = w.stage.out.channels += w.part.channels;
        return;
      }
    wides_.push_back({stage, stage.out, {{&s}}, nullptr, {}});
  }

  std::vector<DenseWeights<T>> weights_of(const Wide<T>& w) const {
    std::vector<DenseWeights<T>> parts;
    for (const Member<T>& m : w.members) parts.push_back(dense_weights(run_, m.stage()));
    return parts;
  }

  // Of all members, as stage_forward() reads them.
  void pack(Wide<T>& w) {
    const Stage& s = w.stage;
    const int64_t factors = int64_t(s.in.channels) * s.out.filled(), taps = s.dense_taps.count();
    T* packed = run_.arena.template take<T>(taps * factors);
    const int64_t one = taps * s.in.channels * w.part.filled();
    for (size_t i = 0; i < w.members.size(); ++i)
      pack_dense(dense_weights(run_, w.members[i].stage()), w.part, packed + i * one);
    w.weight = packed;
    if (!s.tiled) return;
    w.weight = run_.arena.template take<T>(kTileValues * factors);
    if constexpr (kTiles<T>) tile_weights(packed, s.out.lanes, s.out.blocks(), s.in.channels, w.weight);
  }

  Shape in_shape() const { return run_.maps[first().source].shape.padded(border_); }

  // The map with the border that all need, rectified if they do.
  const T* input(int64_t b, int count, Arena& scratch) const {
    const Batch<T>& map = run_.maps[first().source];
    const Shape to = in_shape();
    T* in = scratch.take<T>(count * to.size());
    for (int k = 0; k < count; ++k) padded_copy(map.at(b + k), map.shape, relu(), in + k * to.size(), to);
    return in;
  }

  // All outputs before their norms; then f(wide, member, sample) for each, while they are near.
  template <class F>
  void values(F f) {
    run_.each_group(together_, [&](int64_t b, int count, Arena& scratch) {
      const T* in = input(b, count, scratch);
      const Shape from = in_shape();
      for (Wide<T>& w : wides_) {
        const int step = w.stage.tiled ? count : 1;
        for (int k = 0; k < count; k += step)
          dense_stage_forward(w.stage, in + k * from.size(), from, step, w.weight, w.out.at(b + k), scratch);
        for (int k = 0; k < count; ++k)
          for (int i = 0; i < int(w.members.size()); ++i) f(w, i, b + k);
      }
    });
  }

  void finish_sums(const Wide<T>& w, Member<T>& m) {
    const int n = w.part.filled(), norm = m.stage().norm;
    m.sums = run_.arena.template take<T>(2 * n);
    sum_samples(m.samples, run_.batch, 2 * n, m.sums);
    if (norm >= 0) norm_parameter_gradients(run_, norm, w.part, m.sums, run_.coefficient(*m.step));
  }

  // Everything that a chunk of samples needs for the gradients of one wide.
  struct Back {
    Transposed<T> transposed;
    ChunkSums<T> sums;
    Shape outer, part;  // of gradients before the norm, with their border
  };

  Back back(const Wide<T>& w) {
    const Stage& s = w.stage;
    Transposed<T> transposed(s.dense_taps, s.in, s.out);
    bool learning = false;
    for (const Member<T>& m : w.members) learning = learning || run_.grad_param(m.stage().dense[0]);
    if (onward()) pack_transposed(run_, s, weights_of(w), transposed);
    const int border = transposed.border;
    return {std::move(transposed),
            {run_, learning, int64_t(s.dense_taps.count()) * s.in.channels * s.out.filled()},
            s.out.padded(border),
            w.part.padded(border)};
  }

  // Of the weights and of the map.
  void gradients() {
    std::vector<Back> backs;
    for (const Wide<T>& w : wides_) backs.push_back(back(w));
    run_.each_chunk([&](int chunk, int64_t begin, int64_t end, Arena& scratch) {
      std::vector<T*> sums;
      for (Back& back : backs) sums.push_back(back.sums.start(chunk));
      const bool learning = std::any_of(sums.begin(), sums.end(), [](T* p) { return p; });
      for (int64_t b = begin; b < end; b += together_) {
        Scope scope(scratch);
        const int count = int(std::min<int64_t>(together_, end - b));
        const T* in = learning ? input(b, count, scratch) : nullptr;
        for (size_t i = 0; i < wides_.size(); ++i) {
          Scope scope(scratch);
          const T* grad = before_norms(wides_[i], backs[i], b, count, scratch);
          if (sums[i])
            dense_stage_weight_sums(wides_[i].stage, in, in_shape(), grad, backs[i].outer, count, scratch, sums[i]);
          if (onward()) to_map(wides_[i].stage, backs[i], grad, b, count, scratch);
        }
      }
    });
    for (size_t i = 0; i < wides_.size(); ++i) unpack(wides_[i], backs[i].sums.total());
  }

  // The gradients of what goes into the norms of a wide.
  const T* before_norms(const Wide<T>& w, const Back& back, int64_t b, int count, Arena& scratch) const {
    T* grad = scratch.take<T>(count * back.outer.size());
    for (int k = 0; k < count; ++k)
      for (int i = 0; i < int(w.members.size()); ++i) {
        const Step& s = *w.members[i].step;
        norm_gradient<T>(run_.grads[s.target].at(b + k), w.out_of(i, b + k), w.part, run_.norm(s.stages[0].norm),
                         run_.call.training ? w.members[i].sums : nullptr, run_.values_per_channel(w.part),
                         run_.coefficient(s), run_.scale(s, b + k), grad + k * back.outer.size() + i * back.part.size(),
                         back.part);
      }
    return grad;
  }

  // Adds to the gradient of the map.
  void to_map(const Stage& s, const Back& back, const T* grad, int64_t b, int count, Arena& scratch) const {
    const Batch<T>&map = run_.maps[first().source], &total = run_.grads[first().source];
    const bool rectified = relu() && !run_.in_planes(first().source);
    with_lanes<T>(s.in.lanes, [&](auto lanes) {
      using V = Vec<T, lanes>;
      const Walk at = walk(s.in);
      auto put = [&](int sample, int block, int y) {
        const int64_t row = at.at(block, y, 0);
        return [=, value = map.at(b + sample) + row, to = total.at(b + sample) + row](int x, V v) {
          if (rectified) v = where_positive(V::load(value + x * lanes), v);
          (V::load(to + x * lanes) + v).store(to + x * lanes);
        };
      };
      if constexpr (kTiles<T>)
        if (s.tiled)
          return tiled_conv<T, lanes>(grad, back.outer, count, back.transposed.weight[0], s.in.blocks(), scratch, put);
      for (int k = 0; k < count; ++k)
        dense_transposed<T, lanes>(back.transposed, s.dense_taps, grad + k * back.outer.size(), back.outer, s.in,
                                   [&](int block, int y) { return put(k, block, y); });
    });
  }

  void unpack(const Wide<T>& w, const T* total) {
    if (!total) return;
    const int taps = w.stage.dense_taps.count();
    const int64_t one = int64_t(taps) * w.stage.in.channels * w.part.filled();
    for (size_t i = 0; i < w.members.size(); ++i) {
      T* const parts[2] = {run_.grad_param(w.members[i].stage().dense[0]), nullptr};
      unpack_dense(total + i * one, w.stage.in.channels, taps, false, w.part, parts);
    }
  }
};

}  // namespace pd
