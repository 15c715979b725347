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

template <class T, class F>
void lstm_cell(const Tile<T>& tile, const F& f) {
  constexpr int L = lanes<T>;
  for (int64_t row = 0; row < tile.rows; ++row) {
    T* cell = tile.c + row * tile.c_stride;
    Vector<T> c = load(cell);
    if (__builtin_expect(tile.stands(row), 0)) {
      tile.put(row, tile.old(row));
      if (tile.saved) tile.save(row, 4, c);
      continue;
    }
    const T* z = tile.z + row * tile.z_stride;
    Vector<T> i = load(z), forget = load(z + L), g = load(z + 2 * L),
              o = load(z + 3 * L);
    f.three(i, forget, g);
    c = forget * c + i * g;
    Vector<T> squashed = c;
    f.two(o, squashed);
    store(cell, c);
    tile.put(row, o * squashed);
    if (tile.saved) {
      tile.save(row, 0, i);
      tile.save(row, 1, forget);
      tile.save(row, 2, g);
      tile.save(row, 3, o);
      tile.save(row, 4, c);
    }
  }
}

template <class T, class F>
void gru_after_cell(const Tile<T>& tile, const F& f) {
  constexpr int L = lanes<T>;
  for (int64_t row = 0; row < tile.rows; ++row) {
    const Vector<T> old = tile.old(row);
    if (__builtin_expect(tile.stands(row), 0)) {
      tile.put(row, old);
      continue;
    }
    const T* z = tile.z + row * tile.z_stride;
    Vector<T> r = load(z + L), update = load(z + 2 * L);
    const Vector<T> product = load(z + 3 * L);
    f.gates(r, update);
    const Vector<T> n = f.state(load(z) + r * product);
    tile.put(row, n + update * (old - n));
    if (tile.saved) {
      tile.save(row, 0, r);
      tile.save(row, 1, update);
      tile.save(row, 2, n);
      tile.save(row, 3, product);
    }
  }
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
