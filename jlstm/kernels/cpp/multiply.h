// Matrix products with packed panels, in blocks that stay in registers.
//
// A panel holds N vectors for every k: w[k][N][lanes]. A block adds the products of up
// to `most_rows` rows of `a` with a panel:
//
//     z[row] = from[row] + sum_k a(row, k) w[k]
#pragma once

#include "vector.h"

namespace jlstm::JLSTM_SET {

// How `a` lies in memory: a[row * stride + k], or a[k * stride + row].
enum class Lie { by_rows, by_columns };

template <class T>
struct Product {
  T* z;             // N vectors a row
  int64_t z_stride;
  const T* from;    // may be z; stride 0 gives every row the same
  int64_t from_stride;
  const T* a;
  int64_t a_stride;
  const T* w;
  int64_t w_stride;  // from k to k + 1
  int64_t depth;     // number of k
  const char* ahead = nullptr;  // a line a k that will be read soon, where there is one
};

// 32 registers hold 24 sums; 16 hold 12. The others are for a row's factors and w.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int most_sums = 24;
#else
constexpr int most_sums = 12;
#endif
constexpr int most_vectors = 4;
constexpr int most_rows = most_sums / most_vectors;

// What a panel's slice may take of the first-level cache.
constexpr int64_t slice_bytes = most_sums == 24 ? 16384 : 24576;

// R rows, N vectors. Few sums would wait for each other, so they are split over k.
template <class T, Lie lie, int R, int N>
void block(const Product<T>& p) {
  constexpr int L = lanes<T>;
  constexpr int split = 4 * R * N <= most_sums ? 4 : 2 * R * N <= 8 ? 2 : 1;
  using V = Vector<T>;
  V sums[split][R * N];
  unrolled<0, R * N>([&](auto index) JLSTM_LAMBDA {
    constexpr int q = decltype(index)::value;
    sums[0][q] = load(p.from + (q / N) * p.from_stride + (q % N) * L);
    unrolled<1, split>([&](auto s) JLSTM_LAMBDA { sums[decltype(s)::value][q] = V{}; });
  });
  const T* a = p.a;
  const T* w = p.w;
  const int64_t a_stride = p.a_stride, w_stride = p.w_stride;
  const int64_t k_stride = lie == Lie::by_rows ? 1 : a_stride;
  const int64_t r_stride = lie == Lie::by_rows ? a_stride : 1;
  const auto add = [&](auto s, int64_t k) JLSTM_LAMBDA {
    constexpr int part = decltype(s)::value;
    // The rows' factors and one vector of the panel at a time: R + 1 registers.
    V factors[R];
    unrolled<0, R>([&](auto r) JLSTM_LAMBDA {
      constexpr int row = decltype(r)::value;
      factors[row] = all<T>(a[row * r_stride + k * k_stride]);
    });
    unrolled<0, N>([&](auto n) JLSTM_LAMBDA {
      constexpr int vector = decltype(n)::value;
      const V weights = load(w + k * w_stride + vector * L);
      unrolled<0, R>([&](auto r) JLSTM_LAMBDA {
        constexpr int row = decltype(r)::value;
        sums[part][row * N + vector] += factors[row] * weights;
      });
    });
  };
  const char* ahead = p.ahead;
  int64_t k = 0;
#pragma GCC unroll 2
  for (; k + split <= p.depth; k += split) {
    if constexpr (split == 1) {
      __builtin_prefetch(ahead, 0, 2);
      ahead += 64;
    }
    unrolled<0, split>([&](auto s) JLSTM_LAMBDA { add(s, decltype(s)::value); });
    a += split * k_stride;
    w += split * w_stride;
  }
  if constexpr (split > 1) {
    for (; k < p.depth; ++k, a += k_stride, w += w_stride) add(Index<0>{}, 0);
  }
  unrolled<0, R * N>([&](auto index) JLSTM_LAMBDA {
    constexpr int q = decltype(index)::value;
    V total = sums[0][q];
    unrolled<1, split>(
        [&](auto s) JLSTM_LAMBDA { total += sums[decltype(s)::value][q]; });
    store(p.z + (q / N) * p.z_stride + (q % N) * L, total);
  });
}

template <class T>
using Block = void (*)(const Product<T>&);

// blocks<T, lie>[vectors - 1][rows - 1]
template <class T, Lie lie, int R = most_rows>
struct Blocks {
  static JLSTM_INLINE Block<T> of(int64_t vectors, int64_t rows) {
    if constexpr (R == 1) {
      (void)rows;
      return pick(vectors);
    } else {
      return rows == R ? pick(vectors) : Blocks<T, lie, R - 1>::of(vectors, rows);
    }
  }

  static JLSTM_INLINE Block<T> pick(int64_t vectors) {
    switch (vectors) {
      case 1: return block<T, lie, R, 1>;
      case 2: return block<T, lie, R, 2>;
      case 3: return block<T, lie, R, 3>;
      default: return block<T, lie, R, 4>;
    }
  }
};

// Any number of rows. Where there are several blocks of them, a long panel is taken in
// slices that stay in the first-level cache from block to block.
template <class T, Lie lie>
void multiply(Product<T> p, int64_t rows, int vectors) {
  if (rows <= 0) return;
  const int64_t blocks = quotient_up(rows, most_rows);
  const int64_t fewer = rows / blocks, more = rows % blocks;
  const Block<T> one_more = Blocks<T, lie>::of(vectors, more ? fewer + 1 : fewer);
  const Block<T> one = Blocks<T, lie>::of(vectors, fewer);
  if (blocks == 1) return one(p);
  const int64_t bytes = vectors * JLSTM_BYTES;
  const int64_t slices = larger(1, quotient_up(p.depth * bytes, slice_bytes));
  const int64_t depth = larger(1, quotient_up(p.depth, slices));
  const int64_t row_stride = lie == Lie::by_rows ? p.a_stride : 1;
  const int64_t k_stride = lie == Lie::by_rows ? 1 : p.a_stride;
  int64_t k = 0;
  do {
    Product<T> q = p;
    q.a += k * k_stride;
    q.w += k * p.w_stride;
    q.depth = smaller(depth, p.depth - k);
    if (k > 0) {
      q.from = p.z;
      q.from_stride = p.z_stride;
    }
    // While a slice is in use, the next one comes from memory further away.
    q.ahead = reinterpret_cast<const char*>(q.w + q.depth * p.w_stride);
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t taken = b < more ? fewer + 1 : fewer;
      (b < more ? one_more : one)(q);
      q.z += taken * q.z_stride;
      q.from += taken * q.from_stride;
      q.a += taken * row_stride;
      q.ahead += q.depth * 64;
    }
    k += depth;
  } while (k < p.depth);
}

}  // namespace jlstm::JLSTM_SET
