// The equations of one step backwards: from the gradient of the state after a step to
// the gradients of the sums, and to the part of the state's gradient that does not pass
// through the recurrent weights.
#pragma once

#include "functions.h"
#include "panels.h"

namespace jlstm::JLSTM_SET {

// A panel's units in some rows at one step. Strides lead from row to row.
template <class T>
struct SlopeTile {
  int64_t rows, count;      // count: lanes that are units, the rest is padding
  const T* saved;
  int64_t saved_stride, signal_stride;
  const T* c_old;           // LSTM's cell before the step
  int64_t c_old_stride;
  const T* h_old;
  int64_t h_old_stride;
  const T* dy;
  int64_t dy_stride;
  T* dh;                    // of the state after the step; becomes the part above
  int64_t dh_stride;
  T* dc;
  int64_t dc_stride;
  T* packed;                // gradients of the sums, for those of the weights
  int64_t packed_stride;
  T* row;                   // those that the recurrent weights lead back
  int64_t row_stride;
  T* reset;                 // r * h of the step, GRU reset before
  int64_t reset_stride;
  const int32_t* length;    // of the rows, or null where all of them go on
  int64_t time;

  JLSTM_INLINE bool stands(int64_t r) const {
    return length != nullptr && time >= length[r];
  }
  JLSTM_INLINE Vector<T> signal(int64_t r, int k) const {
    return load(saved + r * saved_stride + k * signal_stride);
  }
  JLSTM_INLINE Vector<T> gradient(int64_t r) const {
    return load(dh + r * dh_stride) + load(dy + r * dy_stride, count);
  }
  // Beyond the last unit lies anything: it must not reach a sum over units.
  JLSTM_INLINE void put(T* to, int vector, Vector<T> v) const {
    store(to + vector * lanes<T>, first<T>(v, count));
  }
  JLSTM_INLINE void stand(int64_t r, Vector<T> dh_now, int width, int led_back) const {
    store(dh + r * dh_stride, dh_now);
    clear(packed + r * packed_stride, width * lanes<T>);
    clear(row + r * row_stride, led_back * lanes<T>);
  }
};

template <class T, class F>
void lstm_slopes(const SlopeTile<T>& tile, const F& f) {
  using V = Vector<T>;
  for (int64_t r = 0; r < tile.rows; ++r) {
    const V dh = tile.gradient(r);
    if (__builtin_expect(tile.stands(r), 0)) {
      tile.stand(r, dh, 4, 4);
      continue;
    }
    const V i = tile.signal(r, 0), forget = tile.signal(r, 1), g = tile.signal(r, 2),
            o = tile.signal(r, 3);
    const V squashed = f.state(tile.signal(r, 4));
    T* cell = tile.dc + r * tile.dc_stride;
    const V dc = load(cell) + dh * o * f.state_slope(squashed);
    const V old = load(tile.c_old + r * tile.c_old_stride, tile.count);
    const V dz[] = {dc * g * f.gate_slope(i), dc * old * f.gate_slope(forget),
                    dc * i * f.state_slope(g), dh * squashed * f.gate_slope(o)};
    T* packed = tile.packed + r * tile.packed_stride;
    T* row = tile.row + r * tile.row_stride;
    for (int k = 0; k < 4; ++k) {
      tile.put(packed, k, dz[k]);
      tile.put(row, k, dz[k]);
    }
    store(cell, dc * forget);
    store(tile.dh + r * tile.dh_stride, V{});
  }
}

template <class T, class F>
void gru_after_slopes(const SlopeTile<T>& tile, const F& f) {
  using V = Vector<T>;
  for (int64_t k = 0; k < tile.rows; ++k) {
    const V dh = tile.gradient(k);
    if (__builtin_expect(tile.stands(k), 0)) {
      tile.stand(k, dh, 4, 3);
      continue;
    }
    const V r = tile.signal(k, 0), z = tile.signal(k, 1), n = tile.signal(k, 2),
            product = tile.signal(k, 3);
    const V old = load(tile.h_old + k * tile.h_old_stride, tile.count);
    const V dn = (dh - dh * z) * f.state_slope(n);
    const V dr = dn * product * f.gate_slope(r);
    const V dz = dh * (old - n) * f.gate_slope(z);
    T* packed = tile.packed + k * tile.packed_stride;
    tile.put(packed, 0, dn);
    tile.put(packed, 1, dr);
    tile.put(packed, 2, dz);
    tile.put(packed, 3, dn * r);
    T* row = tile.row + k * tile.row_stride;
    tile.put(row, 0, dr);
    tile.put(row, 1, dz);
    tile.put(row, 2, dn * r);
    store(tile.dh + k * tile.dh_stride, dh * z);
  }
}

// First half: candidate and update gate. What leads back to r * h is n's gradient.
template <class T, class F>
void gru_before_candidate(const SlopeTile<T>& tile, const F& f) {
  using V = Vector<T>;
  constexpr int L = lanes<T>;
  for (int64_t k = 0; k < tile.rows; ++k) {
    const V dh = tile.gradient(k);
    if (__builtin_expect(tile.stands(k), 0)) {
      tile.stand(k, dh, 3, 1);
      clear(tile.reset + k * tile.reset_stride, L);
      continue;
    }
    const V r = tile.signal(k, 0), z = tile.signal(k, 1), n = tile.signal(k, 2);
    const V old = load(tile.h_old + k * tile.h_old_stride, tile.count);
    const V dn = (dh - dh * z) * f.state_slope(n);
    T* packed = tile.packed + k * tile.packed_stride;
    tile.put(packed, 1, dh * (old - n) * f.gate_slope(z));
    tile.put(packed, 2, dn);
    tile.put(tile.row + k * tile.row_stride, 0, dn);
    tile.put(tile.reset + k * tile.reset_stride, 0, r * old);
    store(tile.dh + k * tile.dh_stride, dh * z);
  }
}

// Second half, from the gradient of r * h: the reset gate.
template <class T, class F>
void gru_before_reset(const SlopeTile<T>& tile, const T* d_reset, int64_t stride,
                      const F& f) {
  using V = Vector<T>;
  constexpr int L = lanes<T>;
  for (int64_t k = 0; k < tile.rows; ++k) {
    T* row = tile.row + k * tile.row_stride;
    if (__builtin_expect(tile.stands(k), 0)) {
      clear(row, 2 * L);
      continue;
    }
    const V back = load(d_reset + k * stride);
    const V r = tile.signal(k, 0);
    const V old = load(tile.h_old + k * tile.h_old_stride, tile.count);
    const V dr = back * old * f.gate_slope(r);
    T* packed = tile.packed + k * tile.packed_stride;
    tile.put(packed, 0, dr);
    tile.put(row, 0, dr);
    store(row + L, load(packed + L));
    T* dh = tile.dh + k * tile.dh_stride;
    store(dh, load(dh) + back * r);
  }
}

}  // namespace jlstm::JLSTM_SET
