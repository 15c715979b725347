// How the work of a layer is divided among threads.
//
// Rows of a batch need nothing of each other: threads that take rows run free of each
// other. Threads that take units of the same rows meet at every step, but each of them
// reads only its part of the weights.
#pragma once

#include "barrier.h"
#include "problem.h"

namespace jlstm::JLSTM_SET {

struct Split {
  int row_groups, unit_groups;
};

// Multiplications and additions of one step of one row.
JLSTM_INLINE int64_t row_work(const Layer& layer) {
  const int64_t gates = gate_counts[static_cast<int>(layer.kind)];
  return gates * layer.units * (layer.units + layer.inputs);
}

// Below this a thread is not worth waking, or worth waiting for at every step.
constexpr int64_t least_work = 400'000;
constexpr int64_t least_work_a_step = 12'000;
// Weights beyond this do not stay in a second-level cache.
constexpr int64_t cached_bytes = 1'500'000;

template <class T>
JLSTM_INLINE bool weights_stay(const Layer& layer) {
  return row_work(layer) * static_cast<int64_t>(sizeof(T)) <= cached_bytes;
}

// The division among `size` threads into units of at least `panels` parts.
template <class T>
Split split_among(const Layer& layer, int size, int64_t parts) {
  const int64_t recurrent = layer.units * layer.units *
                            gate_counts[static_cast<int>(layer.kind)];
  const int64_t group = larger(1, layer.batch);
  int units = 1;
  while (size % (units * 2) == 0 || units == 1) {
    const int next = units == 1 ? (size % 2 == 0 ? 2 : size) : units * 2;
    if (next > size || next == units || next > parts) break;
    const int64_t rows = quotient_up(group, size / units);
    const bool starved = group * units < size;
    const bool few = rows < most_rows && recurrent * group / size >= least_work_a_step;
    const bool large = !weights_stay<T>(layer) && layer.steps > 1;
    if (!(starved || few || large)) break;
    units = next;
  }
  return {size / units, units};
}

// How many threads are worth their while.
template <class T>
int threads_worth(const Layer& layer, int most, int64_t parts) {
  const int64_t step = row_work(layer) * layer.batch;
  const int64_t total = step * layer.steps;
  int64_t threads = smaller(most, total / least_work);
  const int64_t rows = larger(1, layer.batch);
  if (threads > rows && crowded()) threads = rows;
  if (threads > rows) {
    const int64_t worth = smaller(parts * rows, step / least_work_a_step);
    threads = larger(rows, smaller(threads, worth));
    threads = smaller(threads, most);
  }
  return static_cast<int>(larger(1, threads));
}

// How long helpers are waited for, in nanoseconds: a twentieth of the work.
JLSTM_INLINE int64_t patience(const Layer& layer) {
  const int64_t total = row_work(layer) * layer.batch * layer.steps;
  return smaller(2'000'000, larger(20'000, total / 400));
}

// How often a thread looks for another at a barrier before it takes it to have been
// stopped: some 0.1 ms, and longer than a step may take.
JLSTM_INLINE int looks_worth(const Layer& layer) {
  const int64_t step = row_work(layer) * layer.batch;
  return static_cast<int>(2'000 + smaller(1'000'000, step / 2'000));
}

// A thread's place in the split.
struct Place {
  int rank, size;
  Split split;
  Range rows, parts;
  Barrier group, everybody;

  Place(int rank_, int size_, Split split_, int64_t batch, int64_t parts_, Flag* flags,
        int looks)
      : rank(rank_),
        size(size_),
        split(split_),
        rows(share(batch, rank_ / split_.unit_groups, split_.row_groups)),
        parts(share(parts_, rank_ % split_.unit_groups, split_.unit_groups)),
        group(flags, rank_ - rank_ % split_.unit_groups, split_.unit_groups, rank_,
              looks),
        everybody(flags + size_, 0, size_, rank_, looks) {}

  int unit_group() const { return rank % split.unit_groups; }
};

// Memory cut from one piece: a first pass with no memory measures it.
class Cutter {
 public:
  explicit Cutter(void* base) : base_(static_cast<char*>(base)) {}

  template <class P>
  void take(P*& to, int64_t count) {
    to = base_ ? reinterpret_cast<P*>(base_ + used_) : nullptr;
    used_ += round_up(count * static_cast<int64_t>(sizeof(P)), 64);
  }
  int64_t used() const { return used_; }

 private:
  char* base_;
  int64_t used_ = 0;
};

}  // namespace jlstm::JLSTM_SET
