// Vectors of one instruction set, by the vector extensions of GCC and Clang.
//
// JLSTM_SET is the name of the set and of its namespace, JLSTM_BYTES the width of its
// vectors. Everything below that namespace is compiled once for each set.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define JLSTM_INLINE inline __attribute__((always_inline))
#define JLSTM_LAMBDA __attribute__((always_inline))

namespace jlstm::JLSTM_SET {

template <class T>
struct VectorOf;

template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(JLSTM_BYTES)));
  typedef float loose __attribute__((vector_size(JLSTM_BYTES), aligned(4), may_alias));
  typedef int32_t bits __attribute__((vector_size(JLSTM_BYTES)));
};

template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(JLSTM_BYTES)));
  typedef double loose __attribute__((vector_size(JLSTM_BYTES), aligned(8), may_alias));
  typedef int64_t bits __attribute__((vector_size(JLSTM_BYTES)));
};

template <class T>
using Vector = typename VectorOf<T>::type;
template <class T>
using Bits = typename VectorOf<T>::bits;
template <class T>
constexpr int lanes = JLSTM_BYTES / static_cast<int>(sizeof(T));

template <class T>
JLSTM_INLINE Vector<T> load(const T* from) {
  return *reinterpret_cast<const typename VectorOf<T>::loose*>(from);
}

template <class T>
JLSTM_INLINE void store(T* to, Vector<T> v) {
  *reinterpret_cast<typename VectorOf<T>::loose*>(to) = v;
}

template <class T>
JLSTM_INLINE Vector<T> all(T value) {
  return value - Vector<T>{};  // not a sum: -0 + 0 is 0, so it could not be left out
}

// The first `count` lanes; the others are zero.
template <class T>
JLSTM_INLINE Vector<T> load(const T* from, int64_t count) {
  if (__builtin_expect(count >= lanes<T>, 1)) return load(from);
#if defined(__AVX512F__) && JLSTM_BYTES == 64
  // (Stores lane by lane stay: what is stored under a mask is long not to be loaded.)
  const unsigned mask = (1u << count) - 1;
  if constexpr (sizeof(T) == 4)
    return (Vector<T>)_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), from);
  else
    return (Vector<T>)_mm512_maskz_loadu_pd(static_cast<__mmask8>(mask), from);
#else
  Vector<T> v{};
  for (int64_t k = 0; k < count; ++k) v[k] = from[k];
  return v;
#endif
}

template <class T>
JLSTM_INLINE void store(T* to, Vector<T> v, int64_t count) {
  if (__builtin_expect(count >= lanes<T>, 1)) return store(to, v);
  for (int64_t k = 0; k < count; ++k) to[k] = v[k];
}

// Maxima and minima are spelled out where a comparison and a choice would take two
// instructions. (With a full mask: GCC 12 warns of the form without one.)

// The larger of the two; `v` where that is not a number.
template <class T>
JLSTM_INLINE Vector<T> at_least(Vector<T> v, Vector<T> low) {
#if defined(__AVX512F__) && JLSTM_BYTES == 64
  if constexpr (sizeof(T) == 4)
    return (Vector<T>)_mm512_maskz_max_ps(0xffff, (__m512)low, (__m512)v);
  else
    return (Vector<T>)_mm512_maskz_max_pd(0xff, (__m512d)low, (__m512d)v);
#elif defined(__AVX2__) && JLSTM_BYTES == 32
  if constexpr (sizeof(T) == 4)
    return (Vector<T>)_mm256_max_ps((__m256)low, (__m256)v);
  else
    return (Vector<T>)_mm256_max_pd((__m256d)low, (__m256d)v);
#else
  return low > v ? low : v;
#endif
}

// The smaller of the two; `v` where that is not a number.
template <class T>
JLSTM_INLINE Vector<T> at_most(Vector<T> v, Vector<T> high) {
#if defined(__AVX512F__) && JLSTM_BYTES == 64
  if constexpr (sizeof(T) == 4)
    return (Vector<T>)_mm512_maskz_min_ps(0xffff, (__m512)high, (__m512)v);
  else
    return (Vector<T>)_mm512_maskz_min_pd(0xff, (__m512d)high, (__m512d)v);
#elif defined(__AVX2__) && JLSTM_BYTES == 32
  if constexpr (sizeof(T) == 4)
    return (Vector<T>)_mm256_min_ps((__m256)high, (__m256)v);
  else
    return (Vector<T>)_mm256_min_pd((__m256d)high, (__m256d)v);
#else
  return high < v ? high : v;
#endif
}

template <class T>
JLSTM_INLINE Vector<T> magnitude(Vector<T> v) {
  return at_least<T>(v, -v);
}

// The first `count` lanes of v, the others zero.
template <class T>
JLSTM_INLINE Vector<T> first(Vector<T> v, int64_t count) {
  if (__builtin_expect(count >= lanes<T>, 1)) return v;
  for (int64_t k = count < 0 ? 0 : count; k < lanes<T>; ++k) v[k] = 0;
  return v;
}

template <class T>
JLSTM_INLINE T sum(Vector<T> v) {
  // In pairs: one after the other they would wait for each other.
  T parts[lanes<T>];
  store(parts, v);
  for (int half = lanes<T> / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) parts[k] += parts[k + half];
  return parts[0];
}

// f(Index<0>), f(Index<1>), ...: a loop that is unrolled before anything else is done
// with it, so that arrays of vectors become registers.
template <int K>
struct Index {
  static constexpr int value = K;
};

template <int From, int To, class F>
JLSTM_INLINE void unrolled(F&& f) {
  if constexpr (From < To) {
    f(Index<From>{});
    unrolled<From + 1, To>(f);
  }
}

JLSTM_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
JLSTM_INLINE int64_t larger(int64_t a, int64_t b) { return a < b ? b : a; }
JLSTM_INLINE int64_t quotient_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
JLSTM_INLINE int64_t round_up(int64_t a, int64_t b) { return quotient_up(a, b) * b; }

// The part of 0..count that falls to `rank` of `size`.
struct Range {
  int64_t from, to;
};

JLSTM_INLINE Range share(int64_t count, int64_t rank, int64_t size) {
  return {count * rank / size, count * (rank + 1) / size};
}

}  // namespace jlstm::JLSTM_SET
