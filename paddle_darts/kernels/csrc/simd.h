// Vectors of a few lanes, by the compiler's vector extension: AVX-512, AVX2, SSE, NEON or plain code, as built.
#pragma once

#include <cstdint>
#include <type_traits>

namespace pd {

#if defined(__AVX512F__)
constexpr int kSimdBytes = 64;
#elif defined(__AVX__)
constexpr int kSimdBytes = 32;
#else
constexpr int kSimdBytes = 16;
#endif

// How many accumulators a loop may hold: half of the registers of the widest vector unit.
constexpr int kTile = kSimdBytes == 64 ? 16 : 8;

template <class T, int L>
struct Vec {
  typedef T Raw __attribute__((vector_size(sizeof(T) * L)));
  Raw v;

  // memcpy, because neither inputs nor scratch promise the alignment that a dereferenced vector assumes
  static inline Vec load(const T* p) {
    Vec r;
    __builtin_memcpy(&r.v, p, sizeof(r.v));
    return r;
  }
  static inline Vec all(T x) { return {x - Raw{}}; }
  static inline Vec zero() { return {Raw{}}; }
  inline void store(T* p) const { __builtin_memcpy(p, &v, sizeof(v)); }

  friend inline Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
  friend inline Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
  friend inline Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
  inline Vec& operator+=(Vec b) { return v += b.v, *this; }
};

// max(x, 0) that lets NaN through.
template <class T, int L>
inline Vec<T, L> rectified(Vec<T, L> x) {
  typedef typename Vec<T, L>::Raw Raw;
  return {x.v < Raw{} ? Raw{} : x.v};
}

// a where x > 0, else 0.
template <class T, int L>
inline Vec<T, L> where_positive(Vec<T, L> x, Vec<T, L> a) {
  typedef typename Vec<T, L>::Raw Raw;
  return {x.v > Raw{} ? a.v : Raw{}};
}

// Whether maps with few channels get shorter vectors. In double precision, which is there to check, all have full ones.
template <class T>
constexpr bool kShort = sizeof(T) == 4;

// Lanes of a map of `channels`: the fewest vectors per pixel, then the shortest vector.
template <class T>
inline int lanes_for(int channels) {
  constexpr int full = kSimdBytes / sizeof(T);
  int best = full;
  if (kShort<T>)
    for (int lanes = full / 2; lanes >= full / 4; lanes /= 2)
      if ((channels + lanes - 1) / lanes <= (channels + full - 1) / full) best = lanes;
  return best;
}

// Calls f with the number of lanes as a compile-time constant.
template <class T, class F>
inline void with_lanes(int lanes, F f) {
  constexpr int full = kSimdBytes / sizeof(T);
  if (lanes == full) return f(std::integral_constant<int, full>{});
  if constexpr (kShort<T>) {
    if (lanes == full / 2) return f(std::integral_constant<int, full / 2>{});
    if (lanes == full / 4) return f(std::integral_constant<int, full / 4>{});
  }
}

}  // namespace pd
