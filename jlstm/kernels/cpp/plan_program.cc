// Many steps are taken in spans. Where a network has several layers, each span passes
// through them in stages, a thread for each, while the next one follows behind: threads
// meet once a span, and each reads the weights of its own layers alone.
#include "plan_program.h"

#include <sched.h>

#include <cstring>
#include <system_error>
#include <thread>

namespace jlstm {
namespace {

constexpr int most_stages = 4;
// Multiplications below which a thread is not worth starting: a millisecond or so.
constexpr int64_t least_work = 20'000'000;

// The products with the inputs of a span are one, and read their weights once.
constexpr int64_t reuse = 4;

int64_t work_of(const Operation& op) {
  switch (op.code) {
    case Code::lstm:
    case Code::gru_after:
    case Code::gru_before:
      return gate_counts[static_cast<int>(op.layer.kind)] * op.size *
             (op.size + op.inputs / reuse);
    case Code::dense: return op.size * op.inputs / reuse;
    default: return op.size;
  }
}

// Stages of at most `limit` multiplications, or of one operation.
std::vector<Stage> cut(const std::vector<Operation>& operations, int64_t limit) {
  std::vector<Stage> stages;
  int64_t work = limit;
  for (const Operation& op : operations) {
    work += work_of(op);
    if (work > limit || stages.empty()) {
      stages.push_back({&op - operations.data(), 0});
      work = work_of(op);
    }
    ++stages.back().count;
  }
  return stages;
}

// As many stages as gain: one where the largest operation is most of the work.
std::vector<Stage> stages_of(const std::vector<Operation>& operations, int most) {
  int64_t total = 0, largest = 0;
  for (const Operation& op : operations) {
    total += work_of(op);
    if (work_of(op) > largest) largest = work_of(op);
  }
  for (int64_t count = most; count > 1; --count)
    // By how much a stage may be larger than an equal share.
    for (int64_t share = 100; share < 140; share += 5) {
      const int64_t limit = total * share / (100 * count);
      if (limit < largest) continue;
      std::vector<Stage> stages = cut(operations, limit);
      if (static_cast<int64_t>(stages.size()) <= count) return stages;
    }
  return cut(operations, total);
}

int64_t load(const int64_t& count) { return __atomic_load_n(&count, __ATOMIC_ACQUIRE); }

// Until `count` is at least `least`.
void wait_for(const int64_t& count, int64_t least) {
  for (int spins = 0; load(count) < least; ++spins) {
    if (spins < 2000) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      __asm__ volatile("yield");
#endif
    } else {
      sched_yield();
    }
  }
}

// Counts of stages, each in a cache line of its own.
constexpr int64_t line = 8;

}  // namespace

bool Program::pack(int64_t row_size) {
  for (const Operation& op : operations) work_ += work_of(op);
  const int threads = processors();
  stages_ = stages_of(operations, threads < most_stages ? threads : most_stages);
  slots_ = static_cast<int64_t>(stages_.size()) + (stages_.size() > 1);
  const auto lines = [&](int64_t count) { return (bytes(count) + 63) / 64 * 64; };
  size_t apart = lines(row_size) + 64;
  // Rows a power of two apart share the same sets of the cache.
  if (apart % 512 == 0) apart += 64;
  stride_ = static_cast<int64_t>(apart / bytes(1));
  size_t packed = 0, room = 0;
  for (const Operation& op : operations) {
    packed += lines(kernels->packed_size(op));
    const size_t here = lines(kernels->room_size(op));
    if (here > room) room = here;  // one after the other, those of a stage share it
  }
  const size_t rows = apart * static_cast<size_t>(slots_ * most_steps);
  const size_t size = packed + room * stages_.size() + rows;
  memory_ = static_cast<char*>(std::aligned_alloc(64, size));
  if (!memory_) return false;
  std::memset(memory_, 0, size);
  char* at = memory_ + room * stages_.size();
  for (size_t k = 0; k < stages_.size(); ++k)
    for (int64_t j = 0; j < stages_[k].count; ++j) {
      Operation& op = operations[static_cast<size_t>(stages_[k].first + j)];
      kernels->pack(op, at);
      op.packed = at;
      op.room = memory_ + k * room;
      at += lines(kernels->packed_size(op));
    }
  rows_ = at;
  return true;
}

void Program::step(const void* x, void* state, void* y) {
  std::memcpy(rows_, x, bytes(inputs));
  kernels->step(operations.data(), all(), rows_, state);
  std::memcpy(y, rows_ + bytes(output_at), bytes(outputs));
}

void Program::run(const char* x, void* state, char* y, int64_t steps) {
  if (steps == 1) return step(x, state, y);
  alignas(64) int64_t finished[most_stages * line] = {};
  const Signal signal = {x, state, y, steps, finished};
  if (worth_threads(steps) && in_stages(signal)) return;
  for (int64_t k = 0; k * most_steps < steps; ++k) span(signal, k, {0, all()});
}

bool Program::worth_threads(int64_t steps) const {
  return stages_.size() > 1 && steps > 4 * most_steps && work_ * steps > least_work &&
         !crowded();
}

// False, with nothing done, where there are no threads to be had.
bool Program::in_stages(const Signal& signal) {
  std::vector<std::thread> threads;
  const int here = processor();
  int64_t started = 0;  // 1: go on, -1: go away
  const auto body = [this, &signal, &started, here](size_t stage) {
    if (processor() == here) leave_processor();
    int64_t word;
    for (int spins = 0; (word = load(started)) == 0; ++spins)
      if (spins > 2000) sched_yield();
    if (word > 0) work(signal, stage);
  };
  int64_t word = 1;
  try {
    threads.reserve(stages_.size());
    for (size_t k = 1; k < stages_.size(); ++k) threads.emplace_back(body, k);
  } catch (const std::exception&) {
    word = -1;
  }
  __atomic_store_n(&started, word, __ATOMIC_RELEASE);
  if (word > 0) work(signal, 0);
  for (std::thread& thread : threads) thread.join();
  return word > 0;
}

void Program::work(const Signal& signal, size_t stage) {
  const size_t last = stages_.size() - 1;
  for (int64_t k = 0; k * most_steps < signal.steps; ++k) {
    if (stage > 0) wait_for(signal.finished[(stage - 1) * line], k + 1);
    // The rows of a span are free again when the last stage has read them.
    if (stage == 0) wait_for(signal.finished[last * line], k + 1 - slots_);
    span(signal, k, stages_[stage]);
    __atomic_store_n(&signal.finished[stage * line], k + 1, __ATOMIC_RELEASE);
  }
}

void Program::span(const Signal& signal, int64_t number, const Stage& stage) {
  const int64_t first = number * most_steps, rest = signal.steps - first;
  const int64_t steps = rest < most_steps ? rest : most_steps;
  char* rows = rows_ + bytes(number % slots_ * most_steps * stride_);
  if (stage.first == 0)
    for (int64_t s = 0; s < steps; ++s)
      std::memcpy(rows + bytes(s * stride_), signal.x + bytes((first + s) * inputs),
                  bytes(inputs));
  kernels->run(operations.data() + stage.first, stage.count, rows, stride_, steps,
               signal.state);
  if (stage.first + stage.count == all())
    for (int64_t s = 0; s < steps; ++s)
      std::memcpy(signal.y + bytes((first + s) * outputs),
                  rows + bytes(s * stride_ + output_at), bytes(outputs));
}

}  // namespace jlstm
