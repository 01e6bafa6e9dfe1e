// Sums, constants and pools: the steps without weights.
#pragma once

#include "run.h"

namespace pd {

// Whether a sum adds all channels of a map to the same channels of another.
inline bool is_plain(const Step& s, const Shape& from, const Shape& to) {
  return s.source_first == 0 && s.source_step == 1 && s.target_first == 0 && s.target_step == 1 &&
         s.count == from.channels && s.count == to.channels;
}

// Where the channels that a sum joins lie in the source and in the target, seen from a pixel's first channel.
struct Joint {
  std::vector<std::pair<int64_t, int64_t>> offsets;

  Joint(const Step& s, const Shape& from, const Shape& to) {
    for (int i = 0; i < s.count; ++i) {
      const int c = s.source_first + i * s.source_step, d = s.target_first + i * s.target_step;
      offsets.push_back({c / from.lanes * from.block() + c % from.lanes, d / to.lanes * to.block() + d % to.lanes});
    }
  }

  // f(place in the source, place in the target) for every value, pixel by pixel: the channels of one lie together.
  template <class F>
  void each(const Shape& from, const Shape& to, F f) const {
    for (int64_t p = 0; p < from.pixels(); ++p)
      for (const auto& [i, o] : offsets) f(i + p * from.lanes, o + p * to.lanes);
  }
};

// total += weight * map, for a run of values.
template <class T>
inline void axpy(const T* map, int64_t count, T weight, T* total) {
  for (int64_t i = 0; i < count; ++i) total[i] += weight * map[i];
}

// The dot product in four chains of vectors, of a fixed order. While they are at hand, f(place, vector of b) is called
// for all whole vectors, and then f(place, value of b) for the rest.
template <class T, class F>
inline T dot(const T* a, const T* b, int64_t count, F f) {
  constexpr int lanes = kSimdBytes / sizeof(T);
  using V = Vec<T, lanes>;
  V sum[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  int64_t i = 0;
  auto add = [&](V& sum, int64_t at) {
    const V v = V::load(b + at);
    sum += V::load(a + at) * v;
    f(at, v);
  };
  for (; i + 4 * lanes <= count; i += 4 * lanes)
    for (int k = 0; k < 4; ++k) add(sum[k], i + k * lanes);
  for (; i + lanes <= count; i += lanes) add(sum[0], i);
  T total = 0, all[lanes];
  ((sum[0] + sum[1]) + (sum[2] + sum[3])).store(all);
  for (int k = 0; k < lanes; ++k) total += all[k];
  for (; i < count; ++i) total += a[i] * b[i], f(i, b[i]);
  return total;
}

template <class T>
inline T dot(const T* a, const T* b, int64_t count) {
  return dot(a, b, count, [](int64_t, auto) {});
}

// The dot product of map and grad; total += weight * grad.
template <class T>
inline T dot_and_axpy(const T* map, const T* grad, int64_t count, T weight, T* total) {
  constexpr int lanes = kSimdBytes / sizeof(T);
  using V = Vec<T, lanes>;
  return dot(map, grad, count, [=](int64_t at, auto g) {
    if constexpr (std::is_same_v<decltype(g), V>)
      (V::load(total + at) + V::all(weight) * g).store(total + at);
    else
      total[at] += weight * g;
  });
}

template <class T>
inline void sum_forward(Run<T>& run, const Step& s) {
  const Shape &from = run.plan.maps[s.source], &to = run.plan.maps[s.target];
  const bool plain = is_plain(s, from, to);
  const Joint joint(s, from, to);
  run.each_sample([&](int64_t b, Arena&) {
    const T *map = run.maps[s.source].at(b), weight = run.coefficient(s) * run.scale(s, b);
    T* total = run.maps[s.target].at(b);
    if (plain) return axpy(map, from.size(), weight, total);
    joint.each(from, to, [&](int64_t i, int64_t o) { total[o] += weight * map[i]; });
  });
}

// The sum of a value per sample, in the order of the samples.
template <class T>
inline T total_of(const std::vector<T>& samples) {
  double sum = 0;
  for (T v : samples) sum += v;
  return T(sum);
}

template <class T>
inline void sum_backward(Run<T>& run, const Step& s, T* grad_coefficient) {
  const Shape &from = run.plan.maps[s.source], &to = run.plan.maps[s.target];
  const bool plain = is_plain(s, from, to);
  const Joint joint(s, from, to);
  std::vector<T> products(run.batch);
  run.each_sample([&](int64_t b, Arena&) {
    const T *map = run.maps[s.source].at(b), *grad = run.grads[s.target].at(b);
    const T scale = run.scale(s, b), weight = run.coefficient(s) * scale;
    T* total = run.grads[s.source].data ? run.grads[s.source].at(b) : nullptr;
    T product = 0;
    if (plain) {
      if (grad_coefficient && total)
        product = dot_and_axpy(map, grad, from.size(), weight, total);
      else if (grad_coefficient)
        product = dot(map, grad, from.size());
      else if (total)
        axpy(grad, from.size(), weight, total);
    } else {
      if (grad_coefficient) joint.each(from, to, [&](int64_t i, int64_t o) { product += grad[o] * map[i]; });
      if (total) joint.each(from, to, [&](int64_t i, int64_t o) { total[i] += weight * grad[o]; });
    }
    products[b] = scale * product;
  });
  if (grad_coefficient) *grad_coefficient += total_of(products);
}

// The product of a map and a mask, element by element.
template <class T>
inline void masked_forward(Run<T>& run, const Step& s) {
  const int64_t count = run.plan.maps[s.target].size();
  run.each_sample([&](int64_t b, Arena&) {
    const T *map = run.maps[s.source].at(b), *mask = run.maps[s.mask].at(b);
    const T weight = run.coefficient(s) * run.scale(s, b);
    T* total = run.maps[s.target].at(b);
    for (int64_t i = 0; i < count; ++i) total[i] += weight * (map[i] * mask[i]);
  });
}

template <class T>
inline void masked_backward(Run<T>& run, const Step& s, T* grad_coefficient) {
  const int64_t count = run.plan.maps[s.target].size();
  std::vector<T> products(run.batch);
  run.each_sample([&](int64_t b, Arena& scratch) {
    const T *mask = run.maps[s.mask].at(b), *grad = run.grads[s.target].at(b);
    const T scale = run.scale(s, b);
    T* masked = scratch.take<T>(count);
    for (int64_t i = 0; i < count; ++i) masked[i] = grad[i] * mask[i];
    if (grad_coefficient) products[b] = scale * dot(run.maps[s.source].at(b), masked, count);
    if (run.grads[s.source].data) axpy(masked, count, run.coefficient(s) * scale, run.grads[s.source].at(b));
  });
  if (grad_coefficient) *grad_coefficient += total_of(products);
}

template <class T>
inline void constant_forward(Run<T>& run, const Step& s) {
  if (s.coefficient < 0) return;
  const Shape& to = run.plan.maps[s.target];
  const T value = run.coefficient(s);
  run.each_sample([&](int64_t b, Arena&) {
    T* total = run.maps[s.target].at(b);
    for (int c = 0; c < to.channels; ++c)
      for (int64_t p = 0; p < to.pixels(); ++p) total[c / to.lanes * to.block() + c % to.lanes + p * to.lanes] += value;
  });
}

template <class T>
inline void constant_backward(Run<T>& run, const Step& s, T* grad_coefficient) {
  if (!grad_coefficient) return;
  const Shape& to = run.plan.maps[s.target];
  std::vector<T> sums(run.batch);
  run.each_sample([&](int64_t b, Arena& scratch) {
    T* channels = scratch.take<T>(2 * to.filled());
    gradient_sums<T>(run.grads[s.target].at(b), run.grads[s.target].at(b), to, nullptr, channels);
    for (int c = 0; c < to.channels; ++c) sums[b] += channels[c];
  });
  *grad_coefficient += total_of(sums);
}

// Pools, and normalises the pooled map in place where a norm is asked for.
template <class T>
inline void pool_forward(Run<T>& run, const Step& s, bool known) {
  const Shape &from = run.plan.maps[s.source], &to = run.plan.maps[s.target];
  Scope scope(run.arena);
  const bool statistics = s.norm >= 0 && !known;
  T* samples = run.arena.template take<T>(run.batch * 2 * to.filled());
  run.each_sample([&](int64_t b, Arena&) {
    T* pooled = run.maps[s.target].at(b);
    pool(run.maps[s.source].at(b), from, s.window, pooled, to);
    if (statistics) moments(pooled, to, samples + b * 2 * to.filled());
    if (s.norm >= 0 && known) normalised_copy(pooled, to, run.norm(s.norm), false, pooled, to);
  });
  if (!statistics) return;
  run.join(s.norm, samples);
  run.each_sample([&](int64_t b, Arena&) {
    T* pooled = run.maps[s.target].at(b);
    normalised_copy(pooled, to, run.norm(s.norm), false, pooled, to);
  });
}

template <class T>
inline void pool_backward(Run<T>& run, const Step& s) {
  if (!run.grads[s.source].data) return;
  const Shape &from = run.plan.maps[s.source], &to = run.plan.maps[s.target];
  Scope scope(run.arena);
  const int n = to.filled();
  const bool statistics = s.norm >= 0 && run.call.training;
  T* samples = run.arena.template take<T>(run.batch * 2 * n);
  T* sums = run.arena.template take<T>(2 * n);
  // the pooled map is already normalised: its own statistics are mean 0 and scale 1
  T* unit = run.arena.template take<T>(2 * n);
  for (int c = 0; c < n; ++c) unit[c] = T(0), unit[n + c] = T(1);
  const Norm<T> normalised{unit, unit + n, nullptr, unit + n, unit};
  if (statistics) {
    run.each_sample([&](int64_t b, Arena&) {
      gradient_sums(run.grads[s.target].at(b), run.maps[s.target].at(b), to, &normalised, samples + b * 2 * n);
    });
    sum_samples(samples, run.batch, 2 * n, sums);
  }
  run.each_sample([&](int64_t b, Arena& scratch) {
    const T* grad = run.grads[s.target].at(b);
    if (s.norm >= 0) {
      T* inner = scratch.take<T>(to.size());
      norm_gradient<T>(grad, run.maps[s.target].at(b), to, &normalised, statistics ? sums : nullptr,
                       run.values_per_channel(to), T(1), T(1), inner, to);
      scale_channels(inner, to, run.norms[s.norm].scale);
      grad = inner;
    }
    pool_gradient(run.maps[s.source].at(b), from, s.window, grad, to, run.grads[s.source].at(b));
  });
}

}  // namespace pd
