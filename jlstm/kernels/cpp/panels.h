// Weights into panels and out of them.
#pragma once

#include "multiply.h"

namespace jlstm::JLSTM_SET {

// The order in which a kind's gates lie in the vectors of a unit, and which of them the
// input and the recurrent product reach. Letters are places among the arguments.
template <Kind kind>
struct Order;

template <>
struct Order<Kind::lstm> {
  static constexpr int width = 4;           // vectors a unit: i f g o
  static constexpr int gates[] = {0, 1, 2, 3};
  static constexpr int inputs = 4, inputs_at = 0;
  static constexpr int recurrent = 4, recurrent_at = 0;
  static constexpr int saved = 5;           // i f g o c
};

template <>
struct Order<Kind::gru_after> {
  static constexpr int width = 4;           // n r z, and n's recurrent product
  static constexpr int gates[] = {2, 0, 1, 2};
  static constexpr int inputs = 3, inputs_at = 0;
  static constexpr int recurrent = 3, recurrent_at = 1;
  static constexpr int saved = 4;           // r z n, and n's recurrent product
};

template <>
struct Order<Kind::gru_before> {
  static constexpr int width = 3;           // r z n
  static constexpr int gates[] = {0, 1, 2};
  static constexpr int inputs = 3, inputs_at = 0;
  static constexpr int recurrent = 2, recurrent_at = 0;  // then n alone, at 2
  static constexpr int saved = 3;           // r z n
};

// Rows of `lanes` units become panel[k][gate][lane], `gates` of them from `order`; units
// beyond the last are zero.
template <class T>
void pack_panel(T* panel, const void* const* weights, const int* order, int gates,
                int64_t unit, int64_t units, int64_t depth) {
  constexpr int L = lanes<T>;
  const int64_t count = smaller(L, units - unit);
  const int64_t stride = gates * L;
  for (int g = 0; g < gates; ++g) {
    const T* rows = static_cast<const T*>(weights[order[g]]) + unit * depth;
    T* to = panel + g * L;
    if (count == L) {
      for (int64_t k = 0; k < depth; ++k)
        for (int lane = 0; lane < L; ++lane)
          to[k * stride + lane] = rows[lane * depth + k];
    } else {
      for (int64_t k = 0; k < depth; ++k)
        for (int lane = 0; lane < L; ++lane)
          to[k * stride + lane] = lane < count ? rows[lane * depth + k] : T(0);
    }
  }
}

// The way back, for gradients.
template <class T>
void unpack_panel(const T* panel, void* const* weights, const int* order, int gates,
                  int64_t unit, int64_t units, int64_t depth) {
  constexpr int L = lanes<T>;
  const int64_t count = smaller(L, units - unit);
  const int64_t stride = gates * L;
  for (int g = 0; g < gates; ++g) {
    T* rows = static_cast<T*>(weights[order[g]]) + unit * depth;
    const T* from = panel + g * L;
    constexpr int64_t tile = 64;  // of k: lines of the panel stay in the cache
    for (int64_t k0 = 0; k0 < depth; k0 += tile)
      for (int64_t lane = 0; lane < count; ++lane)
        for (int64_t k = k0; k < smaller(depth, k0 + tile); ++k)
          rows[lane * depth + k] = from[k * stride + lane];
  }
}

// The transposed product's panel: `vectors` vectors of columns from `column` on, for
// every gate and unit in the order of the packed signals, [unit / lanes][gate][lane].
template <class T>
void pack_transposed(T* panel, const void* const* weights, const int* order, int gates,
                     int64_t units, int64_t columns, int64_t column, int vectors) {
  constexpr int L = lanes<T>;
  const int64_t width = vectors * L;
  const int64_t count = smaller(width, columns - column);
  for (int64_t unit = 0; unit < round_up(units, L); unit += L) {
    for (int g = 0; g < gates; ++g) {
      const T* rows = static_cast<const T*>(weights[order[g]]) + column;
      for (int64_t u = unit; u < unit + L; ++u, panel += width) {
        const int64_t here = u < units ? count : 0;
        for (int64_t k = 0; k < here; ++k) panel[k] = rows[u * columns + k];
        for (int64_t k = here; k < width; ++k) panel[k] = 0;
      }
    }
  }
}

// Biases as the sums start from them: bias[unit / lanes][width][lane].
template <class T, Kind kind>
void pack_bias(T* bias, const Layer& layer) {
  using O = Order<kind>;
  constexpr int L = lanes<T>;
  const auto value = [&](const void* array, int64_t unit) JLSTM_LAMBDA {
    return unit < layer.units ? static_cast<const T*>(array)[unit] : T(0);
  };
  for (int64_t unit = 0; unit < round_up(layer.units, L); ++unit) {
    T* to = bias + (unit / L) * O::width * L + unit % L;
    for (int q = 0; q < O::width; ++q) {
      const int gate = O::gates[q];
      if constexpr (kind == Kind::gru_after) {
        const T recurrent = value(layer.recurrent_bias[gate], unit);
        const T input = value(layer.bias[gate], unit);
        to[q * L] = q == 0 ? input : q == 3 ? recurrent : input + recurrent;
      } else {
        to[q * L] = value(layer.bias[gate], unit);
      }
    }
  }
}

// Rows of a state into rows of whole vectors.
template <class T>
JLSTM_INLINE void copy(T* to, const T* from, int64_t count) {
  int64_t k = 0;
  for (; k + lanes<T> <= count; k += lanes<T>) store(to + k, load(from + k));
  for (; k < count; ++k) to[k] = from[k];
}

template <class T>
JLSTM_INLINE void clear(T* to, int64_t count) {
  for (int64_t k = 0; k < count; ++k) to[k] = 0;
}

}  // namespace jlstm::JLSTM_SET
