// Threads out of XLA's pool that run one function together.
//
// A pool may be busy, even with calls like this one that wait for threads. So nobody
// waits for a thread that has not started: helpers join while the list is open, the
// caller closes it after some time and shares the work among those that are there. A
// helper that comes later goes away again.
#pragma once

#include <sched.h>

#include <atomic>
#include <chrono>
#include <memory>

#include "problem.h"

namespace jlstm {

template <class Pool>
class PoolCrew final : public Crew {
 public:
  // At most `limit` threads, 0 for as many as the pool has.
  PoolCrew(Pool& pool, int64_t limit) : pool_(pool) {
    int64_t threads = pool.num_threads();
    if (limit > 0 && limit < threads) threads = limit;
    most_ = static_cast<int>(threads < 1 ? 1 : threads > most_ever ? most_ever : threads);
  }

  int most() const override { return most_; }

  void run(int wanted, int64_t patience, Body body, void* context) override {
    if (wanted > most_) wanted = most_;
    if (wanted <= 1) return body(context, 0, 1);
    auto list = std::make_shared<List>();
    list->taken = bit(processor());
    for (int k = 1; k < wanted; ++k)
      pool_.Schedule([list, body, context] {
        const int rank = list->join();
        if (rank == 0) return;
        list->part();
        body(context, rank, list->size_when_closed());
        list->finished.fetch_add(1, std::memory_order_release);
      });
    const int size = list->close(wanted, patience);
    body(context, 0, size);
    for (int spins = 0;
         list->finished.load(std::memory_order_acquire) < size - 1; ++spins)
      rest(spins);
  }

 private:
  static constexpr int most_ever = 64;

  static void rest(int spins) {
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

  // Of more than 64 processors some share a bit: then a thread moves for nothing.
  static uint64_t bit(int number) { return uint64_t{1} << (number & 63); }

  struct List {
    static constexpr int closed = 1 << 30;
    std::atomic<uint64_t> taken{0};  // processors that threads were on when they joined
    std::atomic<int> joined{1};  // the caller is the first
    std::atomic<int> finished{0};

    // The rank of a helper, 0 if it comes too late.
    int join() {
      int now = joined.load();
      while (!(now & closed))
        if (joined.compare_exchange_weak(now, now + 1)) return now;
      return 0;
    }

    // A helper leaves a processor that another thread of the crew is on: the system may
    // wake it there, and then lets the two take turns for whole calls.
    void part() {
      const uint64_t mine = bit(processor());
      if (!(taken.fetch_or(mine) & mine)) return;
      leave_processor();
      taken.fetch_or(bit(processor()));
    }

    int size_when_closed() const {
      int now = joined.load();
      for (int spins = 0; !(now & closed); ++spins, now = joined.load()) rest(spins);
      return now & ~closed;
    }

    int close(int wanted, int64_t patience) {
      using Clock = std::chrono::steady_clock;
      const auto end = Clock::now() + std::chrono::nanoseconds(patience);
      for (int spins = 0; joined.load() < wanted; ++spins) {
        // Soon the processor is offered to a helper that may be waiting for this one.
        rest(16 * spins);
        if (spins % 64 == 63 && Clock::now() > end) break;
      }
      return joined.fetch_or(closed);
    }
  };

  Pool& pool_;
  int most_;
};

}  // namespace jlstm
