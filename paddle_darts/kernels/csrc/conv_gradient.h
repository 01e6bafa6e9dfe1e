// The backward pass of a chain of convolution stages. Nothing of the forward pass was kept but the statistics of the
// norms: with them every sample is computed again on its own.
#pragma once

#include "conv_step.h"

namespace pd {

// What the backward pass of one stage needs, of the whole batch.
template <class T>
struct StageState {
  Packed<T> weights;
  Batch<T> in;        // padded and rectified
  Batch<T> mid;       // after the depthwise convolution
  Batch<T> out;       // before the norm
  Batch<T> grad;      // of what follows the norm; of the last stage it is the gradient of the target
  T* sums = nullptr;  // of gradient_sums over the batch
};

// The gradient of a convolution's input, phase by phase: `weight[phase]` are the packed weights of its taps.
template <class T>
struct Transposed {
  std::vector<Phase> phases;
  std::vector<T*> weight;
  int border = 0;  // that the gradient of the output needs

  Transposed(const Taps& taps, const Shape& in, const Shape& out) : phases(transposed(taps)) {
    for (const Phase& p : phases)
      border = std::max(border, p.taps.border(out.height, out.width, rows(p, taps, in), cols(p, taps, in)));
  }
  static int rows(const Phase& p, const Taps& taps, const Shape& in) {
    return phase_length(in.height, p.y, taps.stride_y);
  }
  static int cols(const Phase& p, const Taps& taps, const Shape& in) {
    return phase_length(in.width, p.x, taps.stride_x);
  }
};

// What takes the values of a phase and hands them to what takes those of all input pixels.
template <class T, int L, class Put>
inline auto spread(const Phase& p, const Taps& taps, const Put& put) {
  return [=, &put](int b, int y) {
    return [=, row = put(b, y * taps.stride_y + p.y), step = taps.stride_x, first = p.x](int x, Vec<T, L> v) {
      row(x * step + first, v);
    };
  };
}

// The gradient for every input pixel of a depthwise convolution; `put` as in depthwise().
template <class T, int L, class Put>
inline void depthwise_transposed(const Transposed<T>& t, const Taps& taps, const T* grad, const Shape& out,
                                 const Shape& in, Put put) {
  for (size_t i = 0; i < t.phases.size(); ++i) {
    const Phase& p = t.phases[i];
    depthwise<T, L>(grad, walk(out), in.blocks(), t.rows(p, taps, in), t.cols(p, taps, in), p.taps, out, t.weight[i],
                    spread<T, L>(p, taps, put));
  }
}

template <class T, int L, class Put>
inline void dense_transposed(const Transposed<T>& t, const Taps& taps, const T* grad, const Shape& out, const Shape& in,
                             Put put) {
  for (size_t i = 0; i < t.phases.size(); ++i) {
    const Phase& p = t.phases[i];
    dense<T, L>(grad, walk(out), out.lanes, out.channels, in.blocks(), t.rows(p, taps, in), t.cols(p, taps, in),
                offsets(p.taps, out), t.weight[i], spread<T, L>(p, taps, put));
  }
}

// The weights of its parts, side by side, for every phase.
template <class T>
inline void pack_transposed(Run<T>& run, const Stage& s, const std::vector<DenseWeights<T>>& parts, Transposed<T>& t) {
  const int64_t factors = int64_t(s.channels) * s.mid.filled();
  for (const Phase& p : t.phases) {
    T* tiled = s.tiled ? run.arena.template take<T>(kTileValues * factors) : nullptr;
    T* packed = run.arena.template take<T>(p.taps.count() * factors);
    pack_dense_transposed(parts, p.index, s.mid, packed);
    if constexpr (kTiles<T>)
      if (tiled) tile_weights(packed, s.mid.lanes, s.mid.blocks(), s.channels, tiled);
    t.weight.push_back(tiled ? tiled : packed);
  }
}

// Adds to `sums` what `samples` neighbouring samples give to the gradients of the weights of a dense convolution.
template <class T>
inline void dense_stage_weight_sums(const Stage& s, const T* in, const Shape& from, const T* grad, const Shape& outer,
                                    int samples, Arena& scratch, T* sums) {
  if constexpr (kTiles<T>)
    if (s.tiled) return tiled_weight_gradient(in, from, grad, outer, samples, scratch, sums);
  with_lanes<T>(s.out.lanes, [&](auto lanes) {
    for (int k = 0; k < samples; ++k)
      dense_weight_gradient<T, lanes>(in + k * from.size(), walk(from, s.dense_taps.stride_y, s.dense_taps.stride_x),
                                      from.lanes, from.channels, grad + k * outer.size(), walk(outer), s.out.blocks(),
                                      s.out.height, s.out.width, offsets(s.dense_taps, from), sums);
  });
}

// The gradient of a coefficient from the gradient_sums of the batch.
template <class T>
inline T coefficient_gradient(const T* sums, const Shape& s, const Norm<T>* norm) {
  const T* products = sums + s.filled();
  double total = 0;
  for (int c = 0; c < s.channels; ++c)
    total += norm ? norm->gamma[c] * products[c] + norm->beta[c] * sums[c] : products[c];
  return T(total);
}

// The gradients of the affine parameters of a norm from the gradient_sums of the batch, which `weight` stands before.
template <class T>
inline void norm_parameter_gradients(const Run<T>& run, int norm, const Shape& s, const T* sums, T weight) {
  T *beta = run.grad_param(run.plan.beta[norm]), *gamma = run.grad_param(run.plan.gamma[norm]);
  for (int c = 0; c < s.channels; ++c) {
    if (beta) beta[c] = weight * sums[c];
    if (gamma) gamma[c] = weight * sums[s.filled() + c];
  }
}

template <class T>
class ConvGradient {
 public:
  ConvGradient(Run<T>& run, const Step& step) : run_(run), step_(step), scope_(run.arena) {}

  void operator()(T* grad_coefficient) {
    recompute(grad_coefficient);
    for (int i = int(step_.stages.size()) - 1; i >= 0; --i)
      if (!stage_backward(i)) return;
  }

 private:
  Run<T>& run_;
  const Step& step_;
  Scope scope_;
  std::vector<StageState<T>> state_;

  const Norm<T>* norm(int i) const { return run_.norm(step_.stages[i].norm); }

  // The stages again, and the sums that the coefficient, the last norm and its affine parameters need.
  void recompute(T* grad_coefficient) {
    const int count = int(step_.stages.size());
    for (int i = 0; i < count; ++i) {
      const Stage& s = step_.stages[i];
      StageState<T> state{Packed<T>(run_, s), {}, {}, run_.take(s.out), {}};
      if (s.depthwise >= 0) state.mid = run_.take(s.mid);
      state.in = i ? run_.take(s.in.padded(s.border())) : run_.copy(step_.source, s.relu);
      state.grad = i + 1 < count ? run_.take(s.out) : run_.grads[step_.target];
      state_.push_back(state);
    }
    const Stage& last = step_.stages.back();
    const int n = last.out.filled();
    T* samples = run_.arena.template take<T>(run_.batch * 2 * n);
    run_.each_group(last.samples(), [&](int64_t first, int together, Arena& scratch) {
      for (int i = 0; i < count; ++i) {
        StageState<T>& at = state_[i];
        const int most = step_.stages[i].samples();
        for (int64_t b = first; b < first + together; b += most) {
          const int now = int(std::min<int64_t>(most, first + together - b));
          if (i)
            for (int k = 0; k < now; ++k)
              normalised_copy(state_[i - 1].out.at(b + k), step_.stages[i].in, norm(i - 1), step_.stages[i].relu,
                              at.in.at(b + k), at.in.shape);
          stage_forward(step_.stages[i], at.weights, at.in.at(b), at.in.shape, now,
                        at.mid.data ? at.mid.at(b) : nullptr, at.out.at(b), scratch);
        }
      }
      for (int64_t b = first; b < first + together; ++b) {
        T* sums = samples + b * 2 * n;
        gradient_sums(run_.grads[step_.target].at(b), state_.back().out.at(b), last.out, norm(count - 1), sums);
        const T scale = run_.scale(step_, b);
        for (int c = 0; c < 2 * n; ++c) sums[c] *= scale;
      }
    });
    finish_sums(count - 1, samples);
    if (grad_coefficient) *grad_coefficient += coefficient_gradient(state_.back().sums, last.out, norm(count - 1));
  }

  // Joins the sums of the samples, and gives the affine parameters their gradients.
  void finish_sums(int i, const T* samples) {
    const Stage& s = step_.stages[i];
    const int n = s.out.filled();
    state_[i].sums = run_.arena.template take<T>(2 * n);
    sum_samples(samples, run_.batch, 2 * n, state_[i].sums);
    if (s.norm < 0) return;
    const T weight = i + 1 < int(step_.stages.size()) ? T(1) : run_.coefficient(step_);
    norm_parameter_gradients(run_, s.norm, s.out, state_[i].sums, weight);
  }

  // Whether anything in front of stage i, or its own weights, wants a gradient.
  bool wanted(int i) const {
    if (run_.grads[step_.source].data) return true;
    for (int k = 0; k <= i; ++k) {
      const Stage& s = step_.stages[k];
      for (int p : {s.depthwise, s.dense[0], s.dense[1]})
        if (run_.grad_param(p)) return true;
      if (k < i && s.norm >= 0 && (run_.grad_param(run_.plan.gamma[s.norm]) || run_.grad_param(run_.plan.beta[s.norm])))
        return true;
    }
    return false;
  }

  void pack_transposed(Transposed<T>& depthwise, Transposed<T>& dense, const Stage& s) {
    pd::pack_transposed(run_, s, {dense_weights(run_, s)}, dense);
    if (s.depthwise < 0) return;
    for (const Phase& p : depthwise.phases) {
      T* packed = run_.arena.template take<T>(int64_t(p.taps.count()) * s.in.filled());
      pack_depthwise(run_.param(s.depthwise), s.depthwise_taps.count(), p.index, s.in, packed);
      depthwise.weight.push_back(packed);
    }
  }

  // Gradients of the weights of stage i and of what it reads; false when nothing further back wants one.
  bool stage_backward(int i) {
    if (!wanted(i)) return false;
    const Stage& s = step_.stages[i];
    const bool onward = i ? wanted(i - 1) || has_affine(i - 1) : bool(run_.grads[step_.source].data);
    Transposed<T> dense(s.dense_taps, s.mid, s.out), depthwise(s.first_taps(), s.in, s.first_out());
    pack_transposed(depthwise, dense, s);
    ChunkSums<T> dense_sums(run_, run_.grad_param(s.dense[0]) || run_.grad_param(s.dense[1]),
                            int64_t(s.dense_taps.count()) * s.mid.channels * s.out.filled());
    ChunkSums<T> depthwise_sums(run_, run_.grad_param(s.depthwise), int64_t(s.depthwise_taps.count()) * s.in.filled());
    const int before = i ? 2 * step_.stages[i - 1].out.filled() : 0;
    T* samples = run_.arena.template take<T>(run_.batch * before);

    run_.each_chunk([&](int chunk, int64_t begin, int64_t end, Arena& scratch) {
      T *own_dense = dense_sums.start(chunk), *own_depthwise = depthwise_sums.start(chunk);
      if constexpr (kTiles<T>)
        if (s.tiled) {
          tiled_backward(i, begin, end, onward, dense, own_dense, scratch);
          if (i && onward)
            for (int64_t b = begin; b < end; ++b)
              gradient_sums(state_[i - 1].grad.at(b), state_[i - 1].out.at(b), s.in, norm(i - 1), samples + b * before);
          return;
        }
      for (int64_t b = begin; b < end; ++b) {
        Scope scope(scratch);
        const Shape outer = s.out.padded(dense.border);
        const T* out_grad = before_norm(i, b, scratch.take<T>(outer.size()), outer);
        if (own_dense) {
          const Batch<T>& in = s.depthwise >= 0 ? state_[i].mid : state_[i].in;
          dense_stage_weight_sums(s, in.at(b), in.shape, out_grad, outer, 1, scratch, own_dense);
        }
        if (s.depthwise < 0) {
          if (onward) through_dense(i, dense, b, out_grad, outer);
        } else if (onward || own_depthwise) {
          const Shape middle = s.mid.padded(depthwise.border);
          T* mid_grad = scratch.take<T>(middle.size());
          mid_gradient(s, dense, out_grad, outer, mid_grad, middle);
          if (own_depthwise) depthwise_weight_sums(s, state_[i], b, mid_grad, middle, own_depthwise);
          if (onward) through_depthwise(i, depthwise, b, mid_grad, middle);
        }
        if (i && onward)
          gradient_sums(state_[i - 1].grad.at(b), state_[i - 1].out.at(b), s.in, norm(i - 1), samples + b * before);
      }
    });
    T* const parts[2] = {run_.grad_param(s.dense[0]), run_.grad_param(s.dense[1])};
    if (const T* total = dense_sums.total())
      unpack_dense(total, s.mid.channels, s.dense_taps.count(), s.halves(), s.out, parts);
    if (const T* total = depthwise_sums.total())
      unpack_depthwise(total, s.depthwise_taps.count(), s.in, run_.grad_param(s.depthwise));
    if (i && onward) finish_sums(i - 1, samples);
    return onward;
  }

  // The same for a chunk of samples, in tiles.
  void tiled_backward(int i, int64_t begin, int64_t end, bool onward, const Transposed<T>& dense, T* sums,
                      Arena& scratch) {
    const Stage& s = step_.stages[i];
    const Batch<T>& in = state_[i].in;
    const Shape outer = s.out.padded(1);
    for (int64_t b = begin; b < end; b += s.samples()) {
      Scope scope(scratch);
      const int now = int(std::min<int64_t>(s.samples(), end - b));
      T* grad = scratch.take<T>(now * outer.size());
      for (int k = 0; k < now; ++k) before_norm(i, b + k, grad + k * outer.size(), outer);
      if (sums) dense_stage_weight_sums(s, in.at(b), in.shape, grad, outer, now, scratch, sums);
      if (!onward) continue;
      with_lanes<T>(s.in.lanes, [&](auto lanes) {
        tiled_conv<T, lanes>(grad, outer, now, dense.weight[0], s.in.blocks(), scratch,
                             [&](int sample, int block, int y) { return delivered<lanes>(i, b + sample, block, y); });
      });
    }
  }

  // Of one sample, the gradient of what goes into the norm of stage i.
  const T* before_norm(int i, int64_t b, T* grad, const Shape& to) const {
    const StageState<T>& at = state_[i];
    const Shape& s = step_.stages[i].out;
    const bool last = i + 1 == int(step_.stages.size());
    norm_gradient<T>(at.grad.at(b), at.out.at(b), s, norm(i), run_.call.training ? at.sums : nullptr,
                     run_.values_per_channel(s), last ? run_.coefficient(step_) : T(1),
                     last ? run_.scale(step_, b) : T(1), grad, to);
    return grad;
  }

  bool has_affine(int i) const {
    const int n = step_.stages[i].norm;
    return n >= 0 && (run_.grad_param(run_.plan.gamma[n]) || run_.grad_param(run_.plan.beta[n]));
  }

  void depthwise_weight_sums(const Stage& s, const StageState<T>& at, int64_t b, const T* grad, const Shape& middle,
                             T* sums) {
    with_lanes<T>(s.in.lanes, [&](auto lanes) {
      depthwise_weight_gradient<T, lanes>(
          at.in.at(b), walk(at.in.shape, s.depthwise_taps.stride_y, s.depthwise_taps.stride_x), grad, walk(middle),
          s.in.blocks(), s.mid.height, s.mid.width, s.depthwise_taps, at.in.shape, sums);
    });
  }

  // From the gradient behind the dense convolution to the one in front of it, with the border that the depthwise needs.
  void mid_gradient(const Stage& s, const Transposed<T>& dense, const T* grad, const Shape& outer, T* out,
                    const Shape& middle) {
    zero_border(out, middle);
    with_lanes<T>(s.mid.lanes, [&](auto lanes) {
      dense_transposed<T, lanes>(dense, s.dense_taps, grad, outer, s.mid, storing<T, lanes>(out, walk(middle)));
    });
  }

  void through_dense(int i, const Transposed<T>& dense, int64_t b, const T* grad, const Shape& outer) {
    const Stage& s = step_.stages[i];
    with_lanes<T>(s.in.lanes, [&](auto lanes) {
      deliver<lanes>(i, b, [&](auto put) { dense_transposed<T, lanes>(dense, s.dense_taps, grad, outer, s.in, put); });
    });
  }

  void through_depthwise(int i, const Transposed<T>& depthwise, int64_t b, const T* grad, const Shape& middle) {
    const Stage& s = step_.stages[i];
    with_lanes<T>(s.in.lanes, [&](auto lanes) {
      deliver<lanes>(i, b, [&](auto put) {
        depthwise_transposed<T, lanes>(depthwise, s.depthwise_taps, grad, middle, s.in, put);
      });
    });
  }

  // Passes the gradient of what stage i reads through its ReLU: added to the gradient of the source map, or set for
  // the stage in front.
  template <int L, class Each>
  void deliver(int i, int64_t b, Each each) {
    each([=](int block, int y) { return delivered<L>(i, b, block, y); });
  }

  // What takes the values of one row.
  template <int L>
  auto delivered(int i, int64_t b, int block, int y) const {
    using V = Vec<T, L>;
    const Stage& s = step_.stages[i];
    const Batch<T>& in = state_[i].in;
    T* to = i ? state_[i - 1].grad.at(b) : run_.grads[step_.source].at(b);
    const bool relu = s.relu && !(i == 0 && run_.in_planes(step_.source)), add = !i;
    return [=, read = in.at(b) + walk(in.shape).at(block, y, 0), write = to + walk(s.in).at(block, y, 0)](int x, V v) {
      if (relu) v = where_positive(V::load(read + x * L), v);
      T* p = write + x * L;
      (add ? V::load(p) + v : v).store(p);
    };
  }
};

}  // namespace pd
