// The equations of one step, from the sums to the new state: one panel of units, any
// number of rows.
#pragma once

#include "functions.h"
#include "panels.h"

namespace jlstm::JLSTM_SET {

// A panel's units in some rows at one step. Strides lead from row to row.
template <class T>
struct Tile {
  int64_t rows, count;        // count: lanes that are units, the rest is padding
  const T* z;                 // sums
  int64_t z_stride;
  const T* h_old;
  T* h_new;
  int64_t h_stride;
  T* c;                       // LSTM's cell
  int64_t c_stride;
  T* reset;                   // r * h, GRU reset before
  int64_t reset_stride;
  T* y;
  int64_t y_stride;
  T* saved;                   // or null
  int64_t saved_stride, signal_stride;
  const int32_t* length;      // of the rows, or null where all of them go on
  int64_t time;

  JLSTM_INLINE bool stands(int64_t row) const {
    return length != nullptr && time >= length[row];
  }
  JLSTM_INLINE Vector<T> old(int64_t row) const {
    return load(h_old + row * h_stride, count);
  }
  JLSTM_INLINE void put(int64_t row, Vector<T> h) const {
    store(h_new + row * h_stride, h, count);
    store(y + row * y_stride, h, count);
  }
  JLSTM_INLINE void save(int64_t row, int signal, Vector<T> v) const {
    store(saved + row * saved_stride + signal * signal_stride, v);
  }
};

// The chain from the sums of a row to its state is so long that a processor does not look
// far enough ahead to begin with the next row in time: many rows go by halves of it.
constexpr int64_t many_rows = 4;

template <class F, class G, class H>
JLSTM_INLINE void by_halves(int64_t rows, F&& first_half, G&& between, H&& second_half) {
  if (rows < many_rows) {
    for (int64_t row = 0; row < rows; ++row) second_half(row, first_half(row));
    return;
  }
  for (int64_t row = 0; row < rows; ++row) first_half(row);
  for (int64_t row = 0; row < rows; ++row) second_half(row, between(row));
}

template <class T, class F>
void lstm_cell(const Tile<T>& tile, const F& f) {
  constexpr int L = lanes<T>;
  const auto gates = [&](int64_t row) JLSTM_LAMBDA {
    T* cell = tile.c + row * tile.c_stride;
    Vector<T> c = load(cell);
    if (__builtin_expect(tile.stands(row), 0)) {
      if (tile.saved) tile.save(row, 4, c);
      return c;
    }
    const T* z = tile.z + row * tile.z_stride;
    Vector<T> i = load(z), forget = load(z + L), g = load(z + 2 * L);
    f.three(i, forget, g);
    c = forget * c + i * g;
    store(cell, c);
    if (tile.saved) {
      tile.save(row, 0, i);
      tile.save(row, 1, forget);
      tile.save(row, 2, g);
      tile.save(row, 4, c);
    }
    return c;
  };
  const auto cell = [&](int64_t row) JLSTM_LAMBDA {
    return load(tile.c + row * tile.c_stride);
  };
  const auto output = [&](int64_t row, Vector<T> squashed) JLSTM_LAMBDA {
    if (__builtin_expect(tile.stands(row), 0)) return tile.put(row, tile.old(row));
    Vector<T> o = load(tile.z + row * tile.z_stride + 3 * L);
    f.two(o, squashed);
    tile.put(row, o * squashed);
    if (tile.saved) tile.save(row, 3, o);
  };
  by_halves(tile.rows, gates, cell, output);
}

// What the candidate takes and z.
template <class T>
struct Pair {
  Vector<T> candidate, update;
};

template <class T, class F>
void gru_after_cell(const Tile<T>& tile, T* sums, const F& f) {
  constexpr int L = lanes<T>;
  const auto gates = [&](int64_t row) JLSTM_LAMBDA {
    T* z = sums + row * tile.z_stride;
    Vector<T> r = load(z + L), update = load(z + 2 * L);
    const Vector<T> product = load(z + 3 * L);
    f.gates(r, update);
    const Vector<T> candidate = load(z) + r * product;
    store(z, candidate);
    store(z + 2 * L, update);
    if (tile.saved && !tile.stands(row)) {
      tile.save(row, 0, r);
      tile.save(row, 1, update);
      tile.save(row, 3, product);
    }
    return Pair<T>{candidate, update};
  };
  const auto stored = [&](int64_t row) JLSTM_LAMBDA {
    const T* z = sums + row * tile.z_stride;
    return Pair<T>{load(z), load(z + 2 * L)};
  };
  const auto output = [&](int64_t row, const Pair<T>& given) JLSTM_LAMBDA {
    const Vector<T> old = tile.old(row);
    if (__builtin_expect(tile.stands(row), 0)) return tile.put(row, old);
    const Vector<T> n = f.state(given.candidate);
    tile.put(row, n + given.update * (old - n));
    if (tile.saved) tile.save(row, 2, n);
  };
  by_halves(tile.rows, gates, stored, output);
}

// First half: r and z; z takes its place among the sums, r * h is what R_n multiplies.
template <class T, class F>
void gru_before_gates(const Tile<T>& tile, T* sums, const F& f) {
  constexpr int L = lanes<T>;
  for (int64_t row = 0; row < tile.rows; ++row) {
    T* z = sums + row * tile.z_stride;
    Vector<T> r = load(z), update = load(z + L);
    f.gates(r, update);
    store(z + L, update);
    store(tile.reset + row * tile.reset_stride, r * tile.old(row));
    if (tile.saved && !tile.stands(row)) {
      tile.save(row, 0, r);
      tile.save(row, 1, update);
    }
  }
}

// Second half: the candidate and the state.
template <class T, class F>
void gru_before_state(const Tile<T>& tile, const F& f) {
  constexpr int L = lanes<T>;
  for (int64_t row = 0; row < tile.rows; ++row) {
    const Vector<T> old = tile.old(row);
    if (__builtin_expect(tile.stands(row), 0)) {
      tile.put(row, old);
      continue;
    }
    const T* z = tile.z + row * tile.z_stride;
    const Vector<T> update = load(z + L), n = f.state(load(z + 2 * L));
    tile.put(row, n + update * (old - n));
    if (tile.saved) tile.save(row, 2, n);
  }
}

}  // namespace jlstm::JLSTM_SET
