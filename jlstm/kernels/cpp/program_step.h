// Operations of a time step. One row leaves a processor waiting for its own results, so
// products are split over k, and weights lie in the order in which they are read.
#pragma once

#include "cells.h"
#include "program.h"

namespace jlstm::JLSTM_SET {

// Below this many outputs a product is a few inner products along the weights' rows.
constexpr int64_t few_outputs = 4;

template <class T>
struct Room {  // scratch of a recurrent layer
  T *row, *c, *reset, *sums;

  Room(const Operation& op, T* room) {
    const int64_t padded = round_up(op.size, lanes<T>);
    c = room;
    reset = c + padded;
    sums = reset + padded;
    row = sums + 4 * padded;
  }
  static int64_t size(const Operation& op) {
    return 6 * round_up(op.size, lanes<T>) + round_up(op.size + op.inputs, lanes<T>);
  }
};

// Packed: biases, then for each panel R and W, then the candidate's panels.
template <class T, Kind kind>
int64_t packed_layer_size(const Operation& op) {
  using O = Order<kind>;
  const int64_t padded = round_up(op.size, lanes<T>);
  int64_t size = padded * (O::width + op.size * O::recurrent + op.inputs * O::inputs);
  if (kind == Kind::gru_before) size += padded * op.size;
  return size;
}

template <class T, Kind kind>
void pack_layer(const Operation& op, T* to) {
  using O = Order<kind>;
  constexpr int L = lanes<T>;
  const int64_t panels = quotient_up(op.size, L);
  pack_bias<T, kind>(to, op.layer);
  to += panels * O::width * L;
  for (int64_t j = 0; j < panels; ++j) {
    pack_panel<T>(to, op.layer.recurrent_weights, O::gates + O::recurrent_at,
                  O::recurrent, j * L, op.size, op.size);
    to += op.size * O::recurrent * L;
    pack_panel<T>(to, op.layer.input_weights, O::gates + O::inputs_at, O::inputs, j * L,
                  op.size, op.inputs);
    to += op.inputs * O::inputs * L;
  }
  if constexpr (kind == Kind::gru_before)
    for (int64_t j = 0; j < panels; ++j, to += op.size * L)
      pack_panel<T>(to, op.layer.recurrent_weights, O::gates + 2, 1, j * L, op.size,
                    op.size);
}

template <class T, Kind kind, class F>
void step_layer(const Operation& op, T* values, T* state, const F& f) {
  using O = Order<kind>;
  constexpr int L = lanes<T>;
  const int64_t panels = quotient_up(op.size, L);
  const Room<T> room(op, static_cast<T*>(op.room));
  T* h = state + op.h_at;
  copy(room.row, h, op.size);
  copy(room.row + op.size, values + op.in, op.inputs);
  if constexpr (kind == Kind::lstm) copy(room.c, state + op.c_at, op.size);
  const T* bias = static_cast<const T*>(op.packed);
  const T* w = bias + panels * O::width * L;
  const auto tile_at = [&](int64_t j, const T* z) {
    Tile<T> tile{};
    tile.rows = 1;
    tile.count = op.size - j * L;
    tile.z = z;
    tile.h_old = room.row + j * L;
    tile.h_new = h + j * L;
    tile.c = room.c + j * L;
    tile.reset = room.reset + j * L;
    tile.y = values + op.out + j * L;
    return tile;
  };
  for (int64_t j = 0; j < panels; ++j, bias += O::width * L) {
    T* z = room.sums + j * O::width * L;
    constexpr int at = O::recurrent_at * L;
    if constexpr (kind == Kind::lstm) {
      block<T, Lie::by_rows, 1, 4>(
          {z, 0, bias, 0, room.row, 0, w, 4 * L, op.size + op.inputs});
    } else {
      if constexpr (kind == Kind::gru_after) store(z + 3 * L, load(bias + 3 * L));
      block<T, Lie::by_rows, 1, O::inputs>(
          {z, 0, bias, 0, room.row + op.size, 0, w + op.size * O::recurrent * L,
           O::inputs * L, op.inputs});
      block<T, Lie::by_rows, 1, O::recurrent>(
          {z + at, 0, z + at, 0, room.row, 0, w, O::recurrent * L, op.size});
    }
    w += (op.size * O::recurrent + op.inputs * O::inputs) * L;
    if constexpr (kind == Kind::lstm) lstm_cell<T>(tile_at(j, z), f);
    if constexpr (kind == Kind::gru_after) gru_after_cell<T>(tile_at(j, z), z, f);
    if constexpr (kind == Kind::gru_before) gru_before_gates<T>(tile_at(j, z), z, f);
  }
  if constexpr (kind == Kind::lstm) copy(state + op.c_at, room.c, op.size);
  if constexpr (kind == Kind::gru_before)
    for (int64_t j = 0; j < panels; ++j, w += op.size * L) {
      T* z = room.sums + j * O::width * L;
      block<T, Lie::by_rows, 1, 1>(
          {z + 2 * L, 0, z + 2 * L, 0, room.reset, 0, w, L, op.size});
      gru_before_state<T>(tile_at(j, z), f);
    }
}

// Packed: the bias, then panels, or rows where there are few.
template <class T>
int64_t packed_dense_size(const Operation& op) {
  constexpr int L = lanes<T>;
  const int64_t padded = round_up(op.size, L);
  if (op.size <= few_outputs) return padded + op.size * round_up(op.inputs, L);
  return padded * (1 + op.inputs);
}

template <class T>
void pack_dense(const Operation& op, T* to) {
  constexpr int L = lanes<T>;
  const T* weights = static_cast<const T*>(op.arrays[0]);
  const int64_t padded = round_up(op.size, L);
  copy(to, static_cast<const T*>(op.arrays[1]), op.size);
  clear(to + op.size, padded - op.size);
  to += padded;
  if (op.size <= few_outputs) {
    for (int64_t o = 0; o < op.size; ++o, to += round_up(op.inputs, L)) {
      copy(to, weights + o * op.inputs, op.inputs);
      clear(to + op.inputs, round_up(op.inputs, L) - op.inputs);
    }
    return;
  }
  const int order[] = {0};
  for (int64_t unit = 0; unit < op.size; unit += L, to += op.inputs * L)
    pack_panel<T>(to, op.arrays, order, 1, unit, op.size, op.inputs);
}

template <class T>
void step_dense(const Operation& op, T* values) {
  constexpr int L = lanes<T>;
  const T* bias = static_cast<const T*>(op.packed);
  const T* w = bias + round_up(op.size, L);
  const T* x = values + op.in;
  if (op.size <= few_outputs) {
    for (int64_t o = 0; o < op.size; ++o, w += round_up(op.inputs, L)) {
      Vector<T> sums[2] = {};
      int64_t k = 0;
      for (; k + 2 * L <= op.inputs; k += 2 * L) {
        sums[0] += load(x + k) * load(w + k);
        sums[1] += load(x + k + L) * load(w + k + L);
      }
      for (; k < op.inputs; k += L) sums[0] += load(x + k, op.inputs - k) * load(w + k);
      values[op.out + o] = bias[o] + sum<T>(sums[0] + sums[1]);
    }
    return;
  }
  T* room = static_cast<T*>(op.room);
  for (int64_t unit = 0; unit < op.size; unit += L, w += op.inputs * L)
    block<T, Lie::by_rows, 1, 1>({room + unit, 0, bias + unit, 0, x, 0, w, L,
                                  op.inputs});
  copy(values + op.out, room, op.size);
}

// Each number by itself; in and out may be the same place.
template <class T, class F>
JLSTM_INLINE void each(const Operation& op, T* values, F&& f) {
  for (int64_t k = 0; k < op.size; k += lanes<T>) {
    const int64_t count = op.size - k;
    store(values + op.out + k, f(load(values + op.in + k, count), k, count), count);
  }
}

template <class T, class F>
JLSTM_INLINE void one_by_one(const Operation& op, T* values, F&& f) {
  for (int64_t k = 0; k < op.size; ++k) values[op.out + k] = f(values[op.in + k]);
}

template <class T>
void step_softmax(const Operation& op, T* values) {
  T largest = values[op.in], total = 0;
  for (int64_t k = 1; k < op.size; ++k)
    if (values[op.in + k] > largest) largest = values[op.in + k];
  each(op, values, [&](Vector<T> v, int64_t, int64_t count) JLSTM_LAMBDA {
    const Vector<T> e = first<T>(exponential<T>(v - largest), count);
    total += sum<T>(e);
    return e;
  });
  for (int64_t k = 0; k < op.size; ++k) values[op.out + k] /= total;
}

template <class T>
void step_activation(const Operation& op, T* values) {
  using V = Vector<T>;
  const T a = static_cast<T>(op.constants[0]), b = static_cast<T>(op.constants[1]);
  const auto apply = [&](auto f) JLSTM_LAMBDA {
    each(op, values, [&](V v, int64_t, int64_t) JLSTM_LAMBDA { return f(v); });
  };
  const V none{};
  switch (op.code) {
    case Code::relu: return apply([&](V v) { return relu<T>(v); });
    case Code::leaky_relu: return apply([&](V v) { return v < none ? a * v : v; });
    case Code::tanh: return apply([&](V v) { return tanh<T>(v); });
    case Code::sigmoid: return apply([&](V v) { return sigmoid<T>(v); });
    case Code::softsign: return apply([&](V v) { return softsign<T>(v); });
    case Code::hard_sigmoid:
      return apply([&](V v) {
        return at_most<T>(at_least<T>(a * v + b, none), all<T>(1));
      });
    case Code::elu:
      return apply([&](V v) {
        const V e = exp_minus_one<T>(bounded<T>(v, Exponential<T>::largest));
        return v < none ? a * e : v;
      });
    case Code::clipped_relu:
      return apply([&](V v) { return at_most<T>(relu<T>(v), all<T>(a)); });
    case Code::swish: return apply([&](V v) { return v * sigmoid<T>(v); });
    case Code::gelu_tanh:
      return apply([&](V v) {
        const V inner = T(0.79788456080286535588) * (v + T(0.044715) * v * v * v);
        return T(0.5) * v * (T(1) + tanh<T>(inner));
      });
    case Code::gelu:
      return one_by_one(op, values, [](T v) {
        return static_cast<T>(v * 0.5 *
                              (1 + __builtin_erf(v * 0.70710678118654752440)));
      });
    default:  // softplus
      return one_by_one(op, values, [](T v) {
        const double rest = __builtin_log1p(__builtin_exp(-__builtin_fabs(v)));
        return static_cast<T>((v > 0 ? v : T(0)) + rest);
      });
  }
}

// Numbers that packed weights take.
template <class T>
int64_t packed_size(const Operation& op) {
  switch (op.code) {
    case Code::lstm: return packed_layer_size<T, Kind::lstm>(op);
    case Code::gru_after: return packed_layer_size<T, Kind::gru_after>(op);
    case Code::gru_before: return packed_layer_size<T, Kind::gru_before>(op);
    case Code::dense: return packed_dense_size<T>(op);
    case Code::scale: return 3 * op.size;
    default: return 0;
  }
}

template <class T>
void pack(const Operation& op, void* to) {
  T* numbers = static_cast<T*>(to);
  switch (op.code) {
    case Code::lstm: return pack_layer<T, Kind::lstm>(op, numbers);
    case Code::gru_after: return pack_layer<T, Kind::gru_after>(op, numbers);
    case Code::gru_before: return pack_layer<T, Kind::gru_before>(op, numbers);
    case Code::dense: return pack_dense<T>(op, numbers);
    case Code::scale:
      for (int k = 0; k < 3; ++k)
        copy(numbers + k * op.size, static_cast<const T*>(op.arrays[k]), op.size);
      return;
    default: return;
  }
}

template <class T>
void run_operation(const Operation& op, T* values, T* state) {
  using V = Vector<T>;
  const auto recurrent = [&](auto kind) {
    with_functions<T>(op.layer, [&](auto f) {
      step_layer<T, static_cast<Kind>(decltype(kind)::value)>(op, values, state, f);
    });
  };
  switch (op.code) {
    case Code::lstm: return recurrent(Index<static_cast<int>(Kind::lstm)>{});
    case Code::gru_after: return recurrent(Index<static_cast<int>(Kind::gru_after)>{});
    case Code::gru_before:
      return recurrent(Index<static_cast<int>(Kind::gru_before)>{});
    case Code::dense: return step_dense<T>(op, values);
    case Code::scale: {
      // Shifted first: what comes in may be far larger than its span.
      const T* s = static_cast<const T*>(op.packed);
      return each(op, values, [&](V v, int64_t k, int64_t count) JLSTM_LAMBDA {
        return (v - load(s + k, count)) * load(s + op.size + k, count) +
               load(s + 2 * op.size + k, count);
      });
    }
    case Code::copy: return copy(values + op.out, values + op.in, op.size);
    case Code::add:
      return each(op, values, [&](V v, int64_t k, int64_t count) JLSTM_LAMBDA {
        return v + load(values + op.in2 + k, count);
      });
    case Code::multiply:
      return each(op, values, [&](V v, int64_t k, int64_t count) JLSTM_LAMBDA {
        return v * load(values + op.in2 + k, count);
      });
    case Code::softmax: return step_softmax<T>(op, values);
    default: return step_activation<T>(op, values);
  }
}

template <class T>
void step(const Operation* operations, int64_t count, void* values, void* state) {
  for (int64_t k = 0; k < count; ++k)
    run_operation<T>(operations[k], static_cast<T*>(values), static_cast<T*>(state));
}

}  // namespace jlstm::JLSTM_SET
