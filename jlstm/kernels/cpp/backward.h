// Gradients of a layer, backwards through time.
//
// The gradients of the sums of some steps are kept packed; the steps' share in the
// gradients of weights and inputs is then added in large products, with the panels
// divided among all threads. Nothing of the size of a sequence is written but dx.
#pragma once

#include "slopes.h"
#include "split.h"

namespace jlstm::JLSTM_SET {

template <class T, Kind kind, class F>
class BackwardRun {
  using O = Order<kind>;
  static constexpr int L = lanes<T>;
  static constexpr int width = O::width * L;
  static constexpr int tile_rows = 8 * most_rows;
  static constexpr bool two_halves = kind == Kind::gru_before;
  static constexpr int64_t block_rows = 384;  // steps times rows, about

 public:
  BackwardRun(const Backward& problem, int most, const F& functions)
      : p_(problem), l_(problem.layer), f_(functions) {
    steps_ = l_.batch ? l_.steps : 0;
    panels_ = quotient_up(l_.units, L);
    padded_ = panels_ * L;
    stride_ = l_.units + l_.inputs;
    block_ = larger(1, smaller(steps_, block_rows / larger(1, l_.batch)));
    row_length_ = padded_ * O::recurrent;
    dh_stride_ = padded_ + (most_vectors - 1) * L;
    x_vectors_ = static_cast<int>(smaller(most_vectors, quotient_up(l_.inputs, L)));
    threads_ = threads_worth<T>(l_, most, panels_);
    for (int64_t b = 0; b < l_.batch; ++b) ragged_ |= l_.length[b] < l_.steps;
  }

  bool run(Crew& crew) {
    Cutter measure(nullptr);
    cut(measure);
    void* memory = arena(measure.used());
    if (!memory) return false;
    Cutter cutter(memory);
    cut(cutter);
    for (int k = 0; k < 2 * threads_; ++k) flags_[k] = {0, -1};
    crew.run(
        threads_, patience(l_),
        [](void* self, int rank, int size) {
          static_cast<BackwardRun*>(self)->work(rank, size);
        },
        this);
    if (stalled_) tell_crowded();
    return true;
  }

 private:
  void cut(Cutter& c) {
    const int64_t most = panels_ + most_vectors - 1;  // of panels of L columns
    const int64_t sums = block_ * l_.batch;
    c.take(flags_, 2 * threads_);
    c.take(back_, most * L * row_length_);
    if (two_halves) c.take(candidate_back_, most * L * padded_);
    if (p_.need_dx)
      c.take(inputs_back_, round_up(l_.inputs, x_vectors_ * L) * padded_ * O::inputs);
    c.take(d_recurrent_, panels_ * l_.units * O::recurrent * L);
    if (two_halves) c.take(d_candidate_, panels_ * l_.units * L);
    c.take(d_inputs_, panels_ * l_.inputs * O::inputs * L);
    c.take(d_bias_, panels_ * width);
    c.take(packed_, panels_ * sums * width);
    c.take(block_inputs_, sums * stride_);
    if (two_halves) c.take(block_reset_, sums * padded_);
    for (auto& rows : rows_) c.take(rows, l_.batch * row_length_);
    if (two_halves) {
      c.take(candidate_rows_, l_.batch * padded_);
      c.take(d_reset_, l_.batch * dh_stride_);
    }
    c.take(dh_, l_.batch * dh_stride_);
    if (kind == Kind::lstm) c.take(dc_, l_.batch * padded_);
    c.take(tiles_, threads_ * tile_rows * most_vectors * L);
  }

  // Vectors in a panel of the product that leads back: as many as leave all threads of
  // a group the same number of units.
  int vectors_back(const Split& split) const {
    int best = most_vectors;
    int64_t least = INT64_MAX;
    for (int v = most_vectors; v >= 1; --v) {
      const int64_t most =
          quotient_up(quotient_up(panels_, v), split.unit_groups) * v;
      if (most < least) {
        least = most;
        best = v;
      }
    }
    return best;
  }

  void work(int rank, int size) {
    const Split split = split_among<T>(l_, size, panels_);
    const int vectors = vectors_back(split);
    const int64_t parts = quotient_up(panels_, vectors);
    Place at(rank, size, split, l_.batch, parts, flags_, looks_worth(l_));
    const Range cells = {smaller(panels_, at.parts.from * vectors),
                         smaller(panels_, at.parts.to * vectors)};
    begin(at, parts, vectors);
    at.everybody.wait();
    for (int64_t end = steps_; end > 0;) {
      const int64_t start = larger(0, end - block_);
      for (int64_t s = end - 1; s >= start; --s) {
        place_inputs(at, s, s - start);
        step(at, cells, vectors, s, s - start);
      }
      at.everybody.wait();
      add_to_weights(at, (end - start) * l_.batch);
      if (p_.need_dx) lead_back_to_inputs(at, start, (end - start) * l_.batch);
      at.everybody.wait();
      end = start;
    }
    if (at.group.stalled() > most_stalled)
      __atomic_store_n(&stalled_, true, __ATOMIC_RELAXED);
    finish(at);
  }

  void begin(const Place& at, int64_t parts, int vectors) {
    const Range back = share(parts, at.rank, at.size);
    const int64_t columns = vectors * L;
    for (int64_t n = back.from; n < back.to; ++n) {
      pack_transposed<T>(back_ + n * columns * row_length_, l_.recurrent_weights,
                         O::gates + O::recurrent_at, O::recurrent, l_.units, l_.units,
                         n * columns, vectors);
      if constexpr (two_halves)
        pack_transposed<T>(candidate_back_ + n * columns * padded_,
                           l_.recurrent_weights, O::gates + 2, 1, l_.units, l_.units,
                           n * columns, vectors);
    }
    if (p_.need_dx && l_.inputs) {
      const int64_t x_columns = x_vectors_ * L;
      const Range x = share(quotient_up(l_.inputs, x_columns), at.rank, at.size);
      for (int64_t n = x.from; n < x.to; ++n)
        pack_transposed<T>(inputs_back_ + n * x_columns * padded_ * O::inputs,
                           l_.input_weights, O::gates + O::inputs_at, O::inputs,
                           l_.units, l_.inputs, n * x_columns, x_vectors_);
    }
    const Range mine = share(panels_, at.rank, at.size);
    const auto none = [&](T* sums, int64_t each) JLSTM_LAMBDA {
      clear(sums + mine.from * each, (mine.to - mine.from) * each);
    };
    none(d_recurrent_, l_.units * O::recurrent * L);
    if constexpr (two_halves) none(d_candidate_, l_.units * L);
    none(d_inputs_, l_.inputs * O::inputs * L);
    none(d_bias_, width);
    const Range rows = share(l_.batch, at.rank, at.size);
    for (int64_t b = rows.from; b < rows.to; ++b) {
      copy(dh_ + b * dh_stride_, static_cast<const T*>(p_.dh_last) + b * l_.units,
           l_.units);
      clear(dh_ + b * dh_stride_ + l_.units, dh_stride_ - l_.units);
      if constexpr (kind == Kind::lstm) {
        copy(dc_ + b * padded_, static_cast<const T*>(p_.dc_last) + b * l_.units,
             l_.units);
        clear(dc_ + b * padded_ + l_.units, padded_ - l_.units);
      }
    }
  }

  int64_t time(int64_t s) const { return l_.reverse ? l_.steps - 1 - s : s; }

  // The state before step s, of a row.
  const T* h_before(int64_t s, int64_t row) const {
    if (s == 0) return static_cast<const T*>(l_.h0) + row * l_.units;
    return static_cast<const T*>(p_.y) +
           (row * l_.steps + time(s - 1)) * l_.units;
  }

  // What the weights multiplied at step s, into the block: [h | x]. Nothing where the
  // row stood still: its x may not even be a number.
  void place_inputs(const Place& at, int64_t s, int64_t k) {
    for (int64_t b = at.rows.from + at.unit_group(); b < at.rows.to;
         b += at.split.unit_groups) {
      T* to = block_inputs_ + (k * l_.batch + b) * stride_;
      if (ragged_ && time(s) >= l_.length[b]) {
        clear(to, stride_);
        continue;
      }
      copy(to, h_before(s, b), l_.units);
      copy(to + l_.units,
           static_cast<const T*>(l_.x) + (b * l_.steps + time(s)) * l_.inputs,
           l_.inputs);
    }
  }

  void step(Place& at, const Range& cells, int vectors, int64_t s, int64_t k) {
    for (int64_t j = cells.from; j < cells.to; ++j) {
      const SlopeTile<T> tile = tile_at(at, s, k, j);
      if constexpr (kind == Kind::lstm) lstm_slopes<T>(tile, f_);
      if constexpr (kind == Kind::gru_after) gru_after_slopes<T>(tile, f_);
      if constexpr (two_halves) {
        SlopeTile<T> first_half = tile;
        first_half.row = candidate_rows_ + at.rows.from * padded_ + j * L;
        first_half.row_stride = padded_;
        gru_before_candidate<T>(first_half, f_);
      }
    }
    if constexpr (two_halves) {
      at.group.wait();
      for (int64_t b = at.rows.from; b < at.rows.to; ++b)
        clear(d_reset_ + b * dh_stride_ + cells.from * L,
              (at.parts.to - at.parts.from) * vectors * L);
      lead_back(at, candidate_rows_, padded_, candidate_back_, d_reset_, vectors);
      for (int64_t j = cells.from; j < cells.to; ++j)
        gru_before_reset<T>(tile_at(at, s, k, j),
                            d_reset_ + at.rows.from * dh_stride_ + j * L, dh_stride_,
                            f_);
    }
    at.group.wait();
    lead_back(at, rows_[s & 1], row_length_, back_, dh_, vectors);
  }

  // to += rows * weights, for this thread's rows and units.
  void lead_back(const Place& at, const T* rows, int64_t length, const T* weights,
                 T* to, int vectors) {
    const int64_t columns = vectors * L;
    for (int64_t n = at.parts.from; n < at.parts.to; ++n) {
      T* z = to + at.rows.from * dh_stride_ + n * columns;
      multiply<T, Lie::by_rows>(
          {z, dh_stride_, z, dh_stride_, rows + at.rows.from * length, length,
           weights + n * columns * length, columns, length},
          at.rows.to - at.rows.from, vectors);
    }
  }

  SlopeTile<T> tile_at(const Place& at, int64_t s, int64_t k, int64_t j) const {
    constexpr int64_t group = saved_bytes / sizeof(T);
    constexpr int64_t signals = O::saved * group;
    const int64_t b = at.rows.from, t = time(s), unit = j * L;
    const int64_t groups = quotient_up(l_.units, group);
    const auto saved = [&](int64_t t_) JLSTM_LAMBDA {
      return static_cast<const T*>(p_.saved) +
             ((t_ * groups + unit / group) * l_.batch + b) * signals + unit % group;
    };
    SlopeTile<T> tile{};
    tile.rows = at.rows.to - b;
    tile.count = l_.units - unit;
    tile.saved = saved(t);
    tile.saved_stride = signals;
    tile.signal_stride = group;
    if constexpr (kind == Kind::lstm) {
      tile.c_old = s ? saved(time(s - 1)) + 4 * group
                     : static_cast<const T*>(l_.c0) + b * l_.units + unit;
      tile.c_old_stride = s ? signals : l_.units;
      tile.dc = dc_ + b * padded_ + unit;
      tile.dc_stride = padded_;
    }
    tile.h_old = h_before(s, b) + unit;
    tile.h_old_stride = s ? l_.steps * l_.units : l_.units;
    tile.dy = static_cast<const T*>(p_.dy) + (b * l_.steps + t) * l_.units + unit;
    tile.dy_stride = l_.steps * l_.units;
    tile.dh = dh_ + b * dh_stride_ + unit;
    tile.dh_stride = dh_stride_;
    tile.packed = packed_ + (j * block_ * l_.batch + k * l_.batch + b) * width;
    tile.packed_stride = width;
    tile.row = rows_[s & 1] + b * row_length_ + j * O::recurrent * L;
    tile.row_stride = row_length_;
    if constexpr (two_halves) {
      tile.reset = block_reset_ + (k * l_.batch + b) * padded_ + unit;
      tile.reset_stride = padded_;
    }
    tile.length = ragged_ ? l_.length + b : nullptr;
    tile.time = t;
    return tile;
  }

  void add_to_weights(const Place& at, int64_t depth) {
    const Range mine = share(panels_, at.rank, at.size);
    const auto add = [&](T* sums, const T* a, int64_t a_stride, const T* w,
                         int64_t rows, int vectors) JLSTM_LAMBDA {
      multiply<T, Lie::by_columns>(
          {sums, vectors * L, sums, vectors * L, a, a_stride, w, width, depth}, rows,
          vectors);
    };
    for (int64_t j = mine.from; j < mine.to; ++j) {
      const T* w = packed_ + j * block_ * l_.batch * width;
      add(d_recurrent_ + j * l_.units * O::recurrent * L, block_inputs_, stride_,
          w + O::recurrent_at * L, l_.units, O::recurrent);
      add(d_inputs_ + j * l_.inputs * O::inputs * L, block_inputs_ + l_.units, stride_,
          w + O::inputs_at * L, l_.inputs, O::inputs);
      if constexpr (two_halves)
        add(d_candidate_ + j * l_.units * L, block_reset_, padded_, w + 2 * L, l_.units,
            1);
      for (int q = 0; q < O::width; ++q) {
        T* to = d_bias_ + j * width + q * L;
        Vector<T> total = load(to);
        for (int64_t k = 0; k < depth; ++k) total += load(w + k * width + q * L);
        store(to, total);
      }
    }
  }

  // dx of `depth` rows of the block that starts at step `start`.
  void lead_back_to_inputs(const Place& at, int64_t start, int64_t depth) {
    const int64_t columns = x_vectors_ * L;
    const Range mine = share(depth, at.rank, at.size);
    T* z = tiles_ + at.rank * tile_rows * most_vectors * L;
    for (int64_t column = 0; column < l_.inputs; column += columns)
      for (int64_t k = mine.from; k < mine.to; k += tile_rows) {
        const int64_t rows = smaller(tile_rows, mine.to - k);
        clear(z, rows * columns);
        for (int64_t j = 0; j < panels_; ++j)
          multiply<T, Lie::by_rows>(
              {z, columns, z, columns,
               packed_ + (j * block_ * l_.batch + k) * width + O::inputs_at * L, width,
               inputs_back_ + column * padded_ * O::inputs +
                   j * O::inputs * L * columns,
               columns, O::inputs * L},
              rows, x_vectors_);
        for (int64_t r = 0; r < rows; ++r) {
          const int64_t b = (k + r) % l_.batch, t = time(start + (k + r) / l_.batch);
          copy(static_cast<T*>(p_.dx) + (b * l_.steps + t) * l_.inputs + column,
               z + r * columns, smaller(columns, l_.inputs - column));
        }
      }
  }

  void finish(const Place& at) {
    const Range mine = share(panels_, at.rank, at.size);
    for (int64_t j = mine.from; j < mine.to; ++j) {
      const int64_t unit = j * L;
      unpack_panel<T>(d_recurrent_ + j * l_.units * O::recurrent * L,
                      p_.d_recurrent_weights, O::gates + O::recurrent_at, O::recurrent,
                      unit, l_.units, l_.units);
      if constexpr (two_halves)
        unpack_panel<T>(d_candidate_ + j * l_.units * L, p_.d_recurrent_weights,
                        O::gates + 2, 1, unit, l_.units, l_.units);
      unpack_panel<T>(d_inputs_ + j * l_.inputs * O::inputs * L, p_.d_input_weights,
                      O::gates + O::inputs_at, O::inputs, unit, l_.units, l_.inputs);
      const auto give = [&](void* to, int vector) JLSTM_LAMBDA {
        store(static_cast<T*>(to) + unit, load(d_bias_ + j * width + vector * L),
              l_.units - unit);
      };
      for (int q = 0; q < O::inputs; ++q) give(p_.d_bias[O::gates[q]], q);
      if constexpr (kind == Kind::gru_after)
        for (int q = 1; q < O::width; ++q) give(p_.d_recurrent_bias[O::gates[q]], q);
    }
    const Range rows = share(l_.batch, at.rank, at.size);
    for (int64_t b = rows.from; b < rows.to; ++b) {
      copy(static_cast<T*>(p_.dh0) + b * l_.units, dh_ + b * dh_stride_, l_.units);
      if constexpr (kind == Kind::lstm)
        copy(static_cast<T*>(p_.dc0) + b * l_.units, dc_ + b * padded_, l_.units);
      if (!p_.need_dx)
        clear(static_cast<T*>(p_.dx) + b * l_.steps * l_.inputs, l_.steps * l_.inputs);
    }
  }

  const Backward& p_;
  const Layer& l_;
  const F f_;
  int threads_, x_vectors_;
  bool ragged_ = false, stalled_ = false;
  int64_t steps_, panels_, padded_, stride_, block_, row_length_, dh_stride_;
  Flag* flags_ = nullptr;
  // Weights of the products that lead back; sums of the weights' gradients.
  T *back_ = nullptr, *candidate_back_ = nullptr, *inputs_back_ = nullptr;
  T *d_recurrent_ = nullptr, *d_candidate_ = nullptr, *d_inputs_ = nullptr,
    *d_bias_ = nullptr;
  // Of the steps of a block: gradients of the sums, and what the weights multiplied.
  T *packed_ = nullptr, *block_inputs_ = nullptr, *block_reset_ = nullptr;
  // Of one step.
  T *rows_[2] = {}, *candidate_rows_ = nullptr, *d_reset_ = nullptr, *dh_ = nullptr,
    *dc_ = nullptr, *tiles_ = nullptr;
};

template <class T, Kind kind>
bool backward_of(const Backward& problem, Crew& crew) {
  bool done = false;
  with_functions<T>(problem.layer, [&](auto functions) {
    using F = decltype(functions);
    done = BackwardRun<T, kind, F>(problem, crew.most(), functions).run(crew);
  });
  return done;
}

template <class T>
bool backward(const Backward& problem, Crew& crew) {
  switch (problem.layer.kind) {
    case Kind::lstm: return backward_of<T, Kind::lstm>(problem, crew);
    case Kind::gru_after: return backward_of<T, Kind::gru_after>(problem, crew);
    default: return backward_of<T, Kind::gru_before>(problem, crew);
  }
}

}  // namespace jlstm::JLSTM_SET
