// The two passes over a plan.
#pragma once

#include "joint_conv.h"
#include "sum_step.h"

namespace pd {

// Statistics of the whole history, as PyTorch keeps them: the variance is the unbiased one.
template <class T>
inline void track(const Run<T>& run) {
  const Call& call = run.call;
  for (int64_t i = 0; i < call.tracked_count; ++i) {
    const int n = int(call.tracked[i]);
    const Shape& s = run.plan.norm_shape[n];
    const double count = run.values_per_channel(s), keep = call.momentum;
    T *mean = static_cast<T*>(call.running_mean[i]), *variance = static_cast<T*>(call.running_variance[i]);
    for (int c = 0; c < s.channels; ++c) {
      mean[c] = T(keep * mean[c] + (1 - keep) * run.norms[n].mean[c]);
      variance[c] = T(keep * variance[c] + (1 - keep) * (count / (count - 1)) * run.norms[n].variance[c]);
    }
  }
}

// In evaluation the norms take the running statistics.
template <class T>
inline void recall(Run<T>& run) {
  const Call& call = run.call;
  for (int64_t i = 0; i < call.tracked_count; ++i) {
    const int n = int(call.tracked[i]);
    const Shape& s = run.plan.norm_shape[n];
    Norm<T>& norm = run.norms[n];
    for (int c = 0; c < s.filled(); ++c) {
      const bool real = c < s.channels;
      norm.mean[c] = real ? static_cast<const T*>(call.running_mean[i])[c] : T(0);
      norm.variance[c] = real ? static_cast<const T*>(call.running_variance[i])[c] : T(1);
      norm.scale[c] = T(1.0 / std::sqrt(double(norm.variance[c]) + call.epsilon));
    }
  }
}

template <class T>
inline void forward(const Call& call, Memory& memory) {
  Scope scope(memory.shared);
  Run<T> run(call, memory);
  if (!call.training) recall(run);
  for (const Shape& s : run.plan.norm_shape)
    if (call.training && run.values_per_channel(s) < 2)
      throw std::invalid_argument("a batch norm in training needs more than one value per channel");
  for (size_t m = run.plan.inputs; m < run.maps.size(); ++m)
    if (!run.plan.hidden[m])
      run.each_sample(
          [&](int64_t b, Arena&) { std::memset(run.maps[m].at(b), 0, sizeof(T) * run.maps[m].shape.size()); });
  for (const std::vector<int>& unit : run.plan.units) {
    const Step& s = run.plan.steps[unit[0]];
    if (s.kind == Kind::kConv) s.joins() ? JointConv<T>(run, unit).forward() : conv_forward(run, s);
    if (s.kind == Kind::kSum) sum_forward(run, s);
    if (s.kind == Kind::kMasked) masked_forward(run, s);
    if (s.kind == Kind::kConstant) constant_forward(run, s);
    if (s.kind == Kind::kPool) pool_forward(run, s, !call.training);
  }
  if (call.training && call.track) track(run);
  T* out = static_cast<T*>(call.out);
  run.each_sample([&](int64_t b, Arena&) {
    const int channels = each_output(run.plan, [](int, int) {});
    each_output(run.plan, [&](int first, int m) {
      const Shape& s = run.plan.maps[m];
      to_planes(run.maps[m].at(b), s, out + (b * channels + first) * s.pixels());
    });
  });
}

// Which maps the output depends on. (A constant takes nothing but the size of its source.)
inline std::vector<bool> alive(const Plan& plan) {
  std::vector<bool> alive(plan.maps.size());
  for (int m : plan.outputs) alive[m] = true;
  for (size_t i = plan.steps.size(); i-- > 0;) {
    const Step& s = plan.steps[i];
    if (alive[s.target] && s.kind != Kind::kConstant) alive[s.source] = true;
  }
  return alive;
}

// Which maps need a gradient: those on the way to the output that an input, a parameter or a coefficient that wants one
// has gone into.
template <class T>
inline std::vector<bool> needed(const Run<T>& run) {
  const Plan& plan = run.plan;
  std::vector<bool> need(plan.maps.size());
  for (int m = 0; m < plan.inputs; ++m) need[m] = run.call.grad_inputs[m] != nullptr;
  for (const Step& s : plan.steps) {
    bool wants = (need[s.source] && s.kind != Kind::kConstant) || (s.coefficient >= 0 && run.call.grad_coefficients);
    for (const Stage& k : s.stages)
      for (int p : {k.depthwise, k.dense[0], k.dense[1], k.norm < 0 ? -1 : plan.gamma[k.norm],
                    k.norm < 0 ? -1 : plan.beta[k.norm]})
        wants = wants || run.grad_param(p);
    if (wants) need[s.target] = true;
  }
  const std::vector<bool> leads = alive(plan);
  for (size_t m = 0; m < need.size(); ++m) need[m] = need[m] && leads[m];
  return need;
}

// Gradients of all maps, zero but for the part of `grad_out` that belongs to them.
template <class T>
inline void place_gradients(Run<T>& run) {
  const std::vector<bool> need = needed(run);
  for (size_t m = 0; m < run.maps.size(); ++m) run.grads.push_back(need[m] ? run.take(run.plan.maps[m]) : Batch<T>{});
  const T* grad = static_cast<const T*>(run.call.grad_out);
  run.each_sample([&](int64_t b, Arena& scratch) {
    for (const Batch<T>& g : run.grads)
      if (g.data) std::memset(g.at(b), 0, sizeof(T) * g.shape.size());
    const int channels = each_output(run.plan, [](int, int) {});
    each_output(run.plan, [&](int first, int m) {
      if (!run.grads[m].data) return;
      const Shape& s = run.plan.maps[m];
      Scope scope(scratch);
      T* part = scratch.take<T>(s.size());
      from_planes(grad + (b * channels + first) * s.pixels(), s, part);
      axpy(part, s.size(), T(1), run.grads[m].at(b));
    });
  });
}

template <class T>
inline void backward(const Call& call, Memory& memory) {
  Scope scope(memory.shared);
  Run<T> run(call, memory);
  for (const Step& s : run.plan.steps)
    if (s.kind == Kind::kPool) pool_forward(run, s, true);
  place_gradients(run);
  T* coefficients = static_cast<T*>(call.grad_coefficients);
  for (size_t i = run.plan.units.size(); i-- > 0;) {
    const Step& s = run.plan.steps[run.plan.units[i][0]];
    if (s.kind == Kind::kConv && s.joins()) {
      JointConv<T>(run, run.plan.units[i]).backward(coefficients);
      continue;
    }
    if (!run.grads[s.target].data) continue;
    T* own = coefficients && s.coefficient >= 0 ? coefficients + s.coefficient : nullptr;
    if (s.kind == Kind::kConv) ConvGradient<T>(run, s)(own);
    if (s.kind == Kind::kSum) sum_backward(run, s, own);
    if (s.kind == Kind::kMasked) masked_backward(run, s, own);
    if (s.kind == Kind::kConstant) constant_backward(run, s, own);
    if (s.kind == Kind::kPool) pool_backward(run, s);
  }
  run.each_sample([&](int64_t b, Arena&) {
    for (int m = 0; m < run.plan.inputs; ++m)
      if (T* grad = static_cast<T*>(call.grad_inputs[m])) {
        const Shape& s = run.plan.maps[m];
        T* own = grad + b * s.channels * s.pixels();
        if (!run.grads[m].data) {
          std::memset(own, 0, sizeof(T) * s.channels * s.pixels());
          continue;
        }
        to_planes(run.grads[m].at(b), s, own);
        if (run.in_planes(m) && run.rectifies(m)) rectify_gradient(run.maps[m].at(b), s.channels * s.pixels(), own);
      }
  });
}

}  // namespace pd
