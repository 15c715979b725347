// A layer over a batch of sequences.
//
// The state lies in rows [h | x]: the input of a step stands beside the state, so that
// an LSTM's sums are one product with [R W]. Where a thread has only a few rows, the
// input products of several steps are computed together instead, with time as rows.
#pragma once

#include "cells.h"
#include "split.h"

namespace jlstm::JLSTM_SET {

template <class T, Kind kind, class F>
class ForwardRun {
  using O = Order<kind>;
  static constexpr int L = lanes<T>;
  static constexpr int width = O::width * L;
  static constexpr int tile_rows = 8 * most_rows;
  static constexpr int chunk = 24;  // steps whose inputs are projected together
  static constexpr int few_rows = most_rows / 2;

 public:
  ForwardRun(const Forward& problem, int most, const F& functions)
      : p_(problem), l_(problem.layer), f_(functions) {
    panels_ = quotient_up(l_.units, L);
    padded_ = panels_ * L;
    stride_ = round_up(l_.units + l_.inputs, L);
    // Rows a power of two apart share the same sets of the cache.
    if (stride_ * sizeof(T) % 512 == 0) stride_ += L;
    depth_ = kind == Kind::lstm ? l_.units + l_.inputs : l_.units;
    threads_ = threads_worth<T>(l_, most, panels_);
    for (int64_t b = 0; b < l_.batch; ++b) ragged_ |= l_.length[b] < l_.steps;
  }

  bool run(Crew& crew) {
    if (l_.batch == 0) return true;
    Cutter measure(nullptr);
    cut(measure);
    void* memory = arena(measure.used());
    if (!memory) return false;
    Cutter cutter(memory);
    cut(cutter);
    for (int k = 0; k < 3 * threads_; ++k) flags_[k] = {0, -1};
    *next_row_ = 0;
    crew.run(
        threads_, patience(l_),
        [](void* self, int rank, int size) {
          static_cast<ForwardRun*>(self)->work(rank, size);
        },
        this);
    if (stalled_) tell_crowded();
    return true;
  }

 private:

  void cut(Cutter& c) {
    c.take(flags_, 3 * threads_);
    c.take(next_row_, 1);
    c.take(recurrent_, panels_ * depth_ * O::recurrent * L);
    if (kind == Kind::lstm) {
      inputs_ = recurrent_ + l_.units * O::recurrent * L;
      inputs_stride_ = depth_ * O::recurrent * L;
    } else {
      c.take(inputs_, panels_ * l_.inputs * O::inputs * L);
      inputs_stride_ = l_.inputs * O::inputs * L;
    }
    if (kind == Kind::gru_before) {
      c.take(candidate_, panels_ * l_.units * L);
      c.take(reset_, l_.batch * padded_);
      c.take(sums_, l_.batch * panels_ * width);
    } else {
      c.take(sums_, threads_ * tile_rows * width);
    }
    c.take(bias_, panels_ * width);
    for (auto& rows : rows_) c.take(rows, l_.batch * stride_);
    if (kind == Kind::lstm) c.take(cells_, l_.batch * padded_);
    if (l_.batch <= few_rows * threads_)
      c.take(projected_, l_.batch * panels_ * chunk * width);
  }

  void work(int rank, int size) {
    Place at(rank, size, split_among<T>(l_, size, panels_), l_.batch, panels_, flags_,
             looks_worth(l_));
    hoisted_here(at) ? work_at<true>(at) : work_at<false>(at);
  }

  bool hoisted_here(const Place& at) const {
    // The same for all groups.
    return projected_ && quotient_up(l_.batch, at.split.row_groups) <= few_rows;
  }

  template <bool hoisted>
  void work_at(Place& at) {
    pack(at);
    if (!free(at)) begin<hoisted>(share(l_.batch, at.rank, at.size));
    at.everybody.wait();
    if (!free(at)) return (void)run_rows<hoisted>(at);
    // Rows need nothing of each other where a thread has all of their units: a few of
    // them go through all steps, so that their states stay in the first-level cache,
    // and whoever is done takes the next ones.
    const int64_t share = quotient_up(l_.batch, at.size);
    const int64_t together = quotient_up(share, quotient_up(share, tile_rows));
    for (;;) {
      const int64_t b = __atomic_fetch_add(next_row_, together, __ATOMIC_RELAXED);
      if (b >= l_.batch) return;
      at.rows = {b, smaller(l_.batch, b + together)};
      begin<hoisted>(at.rows);
      run_rows<hoisted>(at);
    }
  }

  // The same for all threads.
  bool free(const Place& at) const {
    return at.split.row_groups == at.size && weights_stay<T>(l_);
  }

  // All steps of this thread's rows. False: another thread goes on with them.
  template <bool hoisted>
  bool run_rows(Place& at) {
    for (int64_t s = 0; s < l_.steps; ++s) {
      if (hoisted && s % chunk == 0) project(at, s);
      step<hoisted>(at, s);
      if (!hoisted && s + 1 < l_.steps) place_inputs(at, s + 1);
      if (at.split.unit_groups > 1) {
        Flag& alone = flags_[2 * at.size + at.rank - at.unit_group()];
        if (at.unit_group() == 0 && at.group.stalled() > most_stalled && !alone.reached)
          __atomic_store_n(&alone.reached, s + 1, __ATOMIC_RELAXED);
        at.group.wait();
        if (__atomic_load_n(&alone.reached, __ATOMIC_RELAXED) == s + 1) {
          // Everybody of the group sees this after the same step, and one goes on.
          if (at.unit_group() != 0) return false;
          at.split.unit_groups = 1;
          at.parts = {0, panels_};
          at.group.stay_alone();
          __atomic_store_n(&stalled_, true, __ATOMIC_RELAXED);
        }
      }
    }
    finish(at);
    return true;
  }

  void pack(const Place& at) {
    const Range mine = share(panels_, at.rank, at.size);
    for (int64_t j = mine.from; j < mine.to; ++j) {
      pack_panel<T>(recurrent_ + j * depth_ * O::recurrent * L, l_.recurrent_weights,
                    O::gates + O::recurrent_at, O::recurrent, j * L, l_.units,
                    l_.units);
      pack_panel<T>(inputs_ + j * inputs_stride_, l_.input_weights,
                    O::gates + O::inputs_at, O::inputs, j * L, l_.units, l_.inputs);
      if constexpr (kind == Kind::gru_before)
        pack_panel<T>(candidate_ + j * l_.units * L, l_.recurrent_weights, O::gates + 2,
                      1, j * L, l_.units, l_.units);
    }
    if (at.rank == 0) pack_bias<T, kind>(bias_, l_);
  }

  int64_t time(int64_t s) const { return l_.reverse ? l_.steps - 1 - s : s; }

  const T* x(int64_t row, int64_t t) const {
    return static_cast<const T*>(l_.x) + (row * l_.steps + t) * l_.inputs;
  }

  template <bool hoisted>
  void begin(const Range& mine) {
    for (int64_t b = mine.from; b < mine.to; ++b) {
      const T* h = static_cast<const T*>(l_.h0) + b * l_.units;
      copy(rows_[0] + b * stride_, h, l_.units);
      if (!hoisted && l_.steps)
        copy(rows_[0] + b * stride_ + l_.units, x(b, time(0)), l_.inputs);
      if constexpr (kind == Kind::lstm) {
        const T* c = static_cast<const T*>(l_.c0) + b * l_.units;
        copy(cells_ + b * padded_, c, l_.units);
        clear(cells_ + b * padded_ + l_.units, padded_ - l_.units);
      }
    }
  }

  void place_inputs(const Place& at, int64_t s) {
    T* rows = rows_[s & 1];
    for (int64_t b = at.rows.from + at.unit_group(); b < at.rows.to;
         b += at.split.unit_groups)
      copy(rows + b * stride_ + l_.units, x(b, time(s)), l_.inputs);
  }

  // W x + b of the steps from s on, for this thread's rows and units.
  void project(const Place& at, int64_t s) {
    const int64_t steps = smaller(chunk, l_.steps - s);
    const int64_t first = l_.reverse ? time(s + steps - 1) : s;
    for (int64_t j = at.parts.from; j < at.parts.to; ++j) {
      const T* bias = bias_ + j * width;
      for (int64_t b = at.rows.from; b < at.rows.to; ++b) {
        T* z = projected_ + (b * panels_ + j) * chunk * width;
        if constexpr (kind == Kind::gru_after)
          for (int64_t k = 0; k < steps; ++k)
            store(z + k * width + 3 * L, load(bias + 3 * L));
        multiply<T, Lie::by_rows>(
            {z, width, bias, 0, x(b, first), l_.inputs, inputs_ + j * inputs_stride_,
             O::inputs * L, l_.inputs},
            steps, O::inputs);
      }
    }
  }

  template <bool hoisted>
  void step(Place& at, int64_t s) {
    const T* old = rows_[s & 1];
    constexpr bool two_halves = kind == Kind::gru_before;
    const int64_t stride = hoisted      ? panels_ * chunk * width
                           : two_halves ? panels_ * width
                                        : width;
    for (int64_t j = at.parts.from; j < at.parts.to; ++j)
      for (int64_t b = at.rows.from; b < at.rows.to; b += tile_rows) {
        const int64_t rows = smaller(tile_rows, at.rows.to - b);
        T* z = sums<hoisted>(at, s, b, j);
        add_products<hoisted>(z, stride, old + b * stride_, rows, j);
        const Tile<T> tile = tile_at(s, b, j, rows, z, stride);
        if constexpr (kind == Kind::lstm) lstm_cell<T>(tile, f_);
        if constexpr (kind == Kind::gru_after) gru_after_cell<T>(tile, z, f_);
        if constexpr (two_halves) gru_before_gates<T>(tile, z, f_);
      }
    if constexpr (two_halves) {
      at.group.wait();
      for (int64_t j = at.parts.from; j < at.parts.to; ++j)
        for (int64_t b = at.rows.from; b < at.rows.to; b += tile_rows) {
          const int64_t rows = smaller(tile_rows, at.rows.to - b);
          T* z = sums<hoisted>(at, s, b, j);
          multiply<T, Lie::by_rows>(
              {z + 2 * L, stride, z + 2 * L, stride, reset_ + b * padded_, padded_,
               candidate_ + j * l_.units * L, L, l_.units},
              rows, 1);
          gru_before_state<T>(tile_at(s, b, j, rows, z, stride), f_);
        }
    }
  }

  template <bool hoisted>
  T* sums(const Place& at, int64_t s, int64_t b, int64_t j) const {
    if constexpr (hoisted) {
      const int64_t steps = smaller(chunk, l_.steps - s / chunk * chunk);
      const int64_t k = l_.reverse ? steps - 1 - s % chunk : s % chunk;
      return projected_ + ((b * panels_ + j) * chunk + k) * width;
    }
    if constexpr (kind == Kind::gru_before) return sums_ + (b * panels_ + j) * width;
    return sums_ + at.rank * tile_rows * width;
  }

  template <bool hoisted>
  void add_products(T* z, int64_t stride, const T* old, int64_t rows, int64_t j) {
    const T* bias = bias_ + j * width;
    const T* from = z;
    int64_t from_stride = stride, depth = l_.units;
    if constexpr (!hoisted && kind == Kind::lstm) {
      from = bias;
      from_stride = 0;
      depth = depth_;
    } else if constexpr (!hoisted) {
      if constexpr (kind == Kind::gru_after)
        for (int64_t k = 0; k < rows; ++k)
          store(z + k * stride + 3 * L, load(bias + 3 * L));
      multiply<T, Lie::by_rows>(
          {z, stride, bias, 0, old + l_.units, stride_, inputs_ + j * inputs_stride_,
           O::inputs * L, l_.inputs},
          rows, O::inputs);
    }
    constexpr int64_t at = O::recurrent_at * L;
    multiply<T, Lie::by_rows>({z + at, stride, from + at, from_stride, old, stride_,
                               recurrent_ + j * depth_ * O::recurrent * L,
                               O::recurrent * L, depth},
                              rows, O::recurrent);
  }

  Tile<T> tile_at(int64_t s, int64_t b, int64_t j, int64_t rows, const T* z,
                  int64_t stride) const {
    Tile<T> tile{};
    const int64_t t = time(s), unit = j * L;
    tile.rows = rows;
    tile.count = l_.units - unit;
    tile.z = z;
    tile.z_stride = stride;
    tile.h_old = rows_[s & 1] + b * stride_ + unit;
    tile.h_new = rows_[(s + 1) & 1] + b * stride_ + unit;
    tile.h_stride = stride_;
    if (kind == Kind::lstm) tile.c = cells_ + b * padded_ + unit;
    if (kind == Kind::gru_before) tile.reset = reset_ + b * padded_ + unit;
    tile.c_stride = tile.reset_stride = padded_;
    tile.y = static_cast<T*>(p_.y) + (b * l_.steps + t) * l_.units + unit;
    tile.y_stride = l_.steps * l_.units;
    tile.length = ragged_ ? l_.length + b : nullptr;
    tile.time = t;
    if (p_.saved) {
      constexpr int64_t group = saved_bytes / sizeof(T);
      const int64_t groups = quotient_up(l_.units, group);
      tile.saved_stride = O::saved * group;
      tile.signal_stride = group;
      tile.saved = static_cast<T*>(p_.saved) +
                   ((t * groups + unit / group) * l_.batch + b) * tile.saved_stride +
                   unit % group;
    }
    return tile;
  }

  void finish(const Place& at) {
    const T* h = rows_[l_.steps & 1];
    // Units of this group's other threads are there: the last step ended in a barrier.
    for (int64_t b = at.rows.from + at.unit_group(); b < at.rows.to;
         b += at.split.unit_groups) {
      copy(static_cast<T*>(p_.h_last) + b * l_.units, h + b * stride_, l_.units);
      if constexpr (kind == Kind::lstm)
        copy(static_cast<T*>(p_.c_last) + b * l_.units, cells_ + b * padded_, l_.units);
    }
  }

  const Forward& p_;
  const Layer& l_;
  const F f_;
  int threads_;
  bool ragged_ = false, stalled_ = false;
  int64_t panels_, padded_, stride_, depth_, inputs_stride_ = 0;
  Flag* flags_ = nullptr;
  int64_t* next_row_ = nullptr;
  T *recurrent_ = nullptr, *inputs_ = nullptr, *candidate_ = nullptr, *bias_ = nullptr;
  T *rows_[2] = {}, *cells_ = nullptr, *reset_ = nullptr, *sums_ = nullptr,
    *projected_ = nullptr;
};

template <class T, Kind kind>
bool forward_of(const Forward& problem, Crew& crew) {
  bool done = false;
  with_functions<T>(problem.layer, [&](auto functions) {
    using F = decltype(functions);
    done = ForwardRun<T, kind, F>(problem, crew.most(), functions).run(crew);
  });
  return done;
}

template <class T>
bool forward(const Forward& problem, Crew& crew) {
  switch (problem.layer.kind) {
    case Kind::lstm: return forward_of<T, Kind::lstm>(problem, crew);
    case Kind::gru_after: return forward_of<T, Kind::gru_after>(problem, crew);
    default: return forward_of<T, Kind::gru_before>(problem, crew);
  }
}

}  // namespace jlstm::JLSTM_SET
