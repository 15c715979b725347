// A span of time steps of a network, operation by operation: every product but that
// with a layer's own past takes all steps of the span as rows of one matrix.
#pragma once

#include "program_step.h"

namespace jlstm::JLSTM_SET {

// The rows of the steps.
template <class T>
struct Span {
  T* rows;
  int64_t stride, count;

  T* row(int64_t s) const { return rows + s * stride; }
};

// Vectors of whole panels, so that nothing is stored lane by lane between steps.
template <class T>
struct SpanRoom {  // scratch of a recurrent layer
  T *c, *reset, *h, *sums;

  SpanRoom(const Operation& op, T* room) {
    const int64_t padded = round_up(op.size, lanes<T>);
    c = room;
    reset = c + padded;
    h = reset + padded;  // before the span, then after each of its steps
    sums = h + (most_steps + 1) * padded;
  }
  static int64_t size(const Operation& op) {
    // At most four vectors of sums a unit.
    return round_up(op.size, lanes<T>) * (2 + most_steps + 1 + 4 * most_steps);
  }
};

// W x + b of all steps: sums[panel][step][width].
template <class T, Kind kind>
void project(const Operation& op, const Span<T>& span, T* sums) {
  using O = Order<kind>;
  constexpr int L = lanes<T>;
  constexpr int width = O::width * L;
  const int64_t panels = quotient_up(op.size, L);
  const T* bias = static_cast<const T*>(op.packed);
  const T* w = bias + panels * width + op.size * O::recurrent * L;
  for (int64_t j = 0; j < panels; ++j) {
    if constexpr (kind == Kind::gru_after)
      for (int64_t s = 0; s < span.count; ++s)
        store(sums + s * width + 3 * L, load(bias + 3 * L));
    multiply<T, Lie::by_rows>({sums, width, bias, 0, span.rows + op.in, span.stride, w,
                               O::inputs * L, op.inputs},
                              span.count, O::inputs);
    bias += width;
    sums += most_steps * width;
    w += (op.size * O::recurrent + op.inputs * O::inputs) * L;
  }
}

template <class T, Kind kind, class F>
void run_layer(const Operation& op, const Span<T>& span, T* state, const F& f) {
  using O = Order<kind>;
  constexpr int L = lanes<T>;
  constexpr int width = O::width * L, at = O::recurrent_at * L;
  const int64_t panels = quotient_up(op.size, L), padded = panels * L;
  const SpanRoom<T> room(op, static_cast<T*>(op.room));
  project<T, kind>(op, span, room.sums);
  copy(room.h, state + op.h_at, op.size);
  clear(room.h + op.size, padded - op.size);
  if constexpr (kind == Kind::lstm) {
    copy(room.c, state + op.c_at, op.size);
    clear(room.c + op.size, padded - op.size);
  }
  for (int64_t s = 0; s < span.count; ++s) {
    const T* old = room.h + s * padded;
    const T* w = static_cast<const T*>(op.packed) + panels * width;
    const auto tile_at = [&](int64_t j, const T* z) {
      Tile<T> tile{};
      tile.rows = 1;
      tile.count = L;
      tile.z = z;
      tile.h_old = old + j * L;
      tile.h_new = tile.y = room.h + (s + 1) * padded + j * L;
      tile.c = room.c + j * L;
      tile.reset = room.reset + j * L;
      return tile;
    };
    for (int64_t j = 0; j < panels; ++j) {
      T* z = room.sums + (j * most_steps + s) * width;
      block<T, Lie::by_rows, 1, O::recurrent>(
          {z + at, 0, z + at, 0, old, 0, w, O::recurrent * L, op.size});
      w += (op.size * O::recurrent + op.inputs * O::inputs) * L;
      if constexpr (kind == Kind::lstm) lstm_cell<T>(tile_at(j, z), f);
      if constexpr (kind == Kind::gru_after) gru_after_cell<T>(tile_at(j, z), z, f);
      if constexpr (kind == Kind::gru_before) gru_before_gates<T>(tile_at(j, z), z, f);
    }
    if constexpr (kind == Kind::gru_before)
      for (int64_t j = 0; j < panels; ++j, w += op.size * L) {
        T* z = room.sums + (j * most_steps + s) * width;
        block<T, Lie::by_rows, 1, 1>(
            {z + 2 * L, 0, z + 2 * L, 0, room.reset, 0, w, L, op.size});
        gru_before_state<T>(tile_at(j, z), f);
      }
  }
  for (int64_t s = 0; s < span.count; ++s)
    copy(span.row(s) + op.out, room.h + (s + 1) * padded, op.size);
  copy(state + op.h_at, room.h + span.count * padded, op.size);
  if constexpr (kind == Kind::lstm) copy(state + op.c_at, room.c, op.size);
}

template <class T>
void run_dense(const Operation& op, const Span<T>& span) {
  constexpr int L = lanes<T>;
  if (op.size <= few_outputs) {
    for (int64_t s = 0; s < span.count; ++s) step_dense<T>(op, span.row(s));
    return;
  }
  const T* bias = static_cast<const T*>(op.packed);
  const T* w = bias + round_up(op.size, L);
  T* sums = static_cast<T*>(op.room);
  for (int64_t unit = 0; unit < op.size; unit += L, w += op.inputs * L) {
    multiply<T, Lie::by_rows>({sums, L, bias + unit, 0, span.rows + op.in, span.stride,
                               w, L, op.inputs},
                              span.count, 1);
    for (int64_t s = 0; s < span.count; ++s)
      copy(span.row(s) + op.out + unit, sums + s * L, smaller(L, op.size - unit));
  }
}

template <class T>
void run_span(const Operation& op, const Span<T>& span, T* state) {
  const auto recurrent = [&](auto kind) {
    with_functions<T>(op.layer, [&](auto f) {
      run_layer<T, static_cast<Kind>(decltype(kind)::value)>(op, span, state, f);
    });
  };
  switch (op.code) {
    case Code::lstm: return recurrent(Index<static_cast<int>(Kind::lstm)>{});
    case Code::gru_after: return recurrent(Index<static_cast<int>(Kind::gru_after)>{});
    case Code::gru_before:
      return recurrent(Index<static_cast<int>(Kind::gru_before)>{});
    case Code::dense: return run_dense<T>(op, span);
    default:
      for (int64_t s = 0; s < span.count; ++s) run_operation<T>(op, span.row(s), state);
  }
}

// Numbers of an operation's scratch, of a step or of a span.
template <class T>
int64_t room_size(const Operation& op) {
  switch (op.code) {
    case Code::lstm:
    case Code::gru_after:
    case Code::gru_before: return larger(Room<T>::size(op), SpanRoom<T>::size(op));
    case Code::dense:
      return larger(round_up(op.size, lanes<T>), most_steps * lanes<T>);
    default: return 0;
  }
}

template <class T>
void run(const Operation* operations, int64_t count, void* rows, int64_t stride,
         int64_t steps, void* state) {
  const Span<T> span = {static_cast<T*>(rows), stride, steps};
  for (int64_t k = 0; k < count; ++k)
    run_span<T>(operations[k], span, static_cast<T*>(state));
}

}  // namespace jlstm::JLSTM_SET
