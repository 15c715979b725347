// Threads of a crew wait for each other by spinning: a step takes about a microsecond,
// less than the system needs to wake a thread.
#pragma once

#include <sched.h>

#include "problem.h"
#include "vector.h"

namespace jlstm::JLSTM_SET {

JLSTM_INLINE void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

struct alignas(64) Flag {
  int64_t reached;
  int processor;  // where its thread was when it last had to wait long
};

// Nanoseconds lost in a call after which threads no longer run together.
constexpr int64_t most_stalled = 2'000'000;

// A barrier of the ranks `first` to `first + size`; each has a flag of its own, in a
// cache line of its own, that counts how often it has come.
class Barrier {
 public:
  // `patience`: how often to look before the other is taken to have been stopped.
  Barrier(Flag* flags, int first, int size, int rank, int patience)
      : flags_(flags + first), size_(size), mine_(rank - first), patience_(patience) {}

  // The others have left: there is nobody to wait for any more.
  void stay_alone() { size_ = 1; }

  // Nanoseconds lost to somebody whose processor must have been taken from it.
  int64_t stalled() const { return stalled_; }

  void wait() {
    if (size_ == 1) return;
    int64_t since = 0;
    ++count_;
    __atomic_store_n(&flags_[mine_].reached, count_, __ATOMIC_RELEASE);
    for (int other = 0; other < size_; ++other) {
      if (other == mine_) continue;
      int spins = 0;
      while (__atomic_load_n(&flags_[other].reached, __ATOMIC_ACQUIRE) < count_) {
        if (++spins < patience_) {
          relax();
        } else {
          // The other thread's processor may have been given to somebody else, or be
          // this one.
          if (!since) since = nanoseconds();
          part(other);
          sched_yield();
          spins = patience_ / 2;
        }
      }
    }
    if (since) stalled_ += nanoseconds() - since;
  }

 private:
  // Of two threads on one processor the later one leaves.
  JLSTM_INLINE void part(int other) {
    const int here = processor();
    __atomic_store_n(&flags_[mine_].processor, here, __ATOMIC_RELAXED);
    if (mine_ > other &&
        __atomic_load_n(&flags_[other].processor, __ATOMIC_RELAXED) == here)
      leave_processor();
  }

  Flag* flags_;
  int size_, mine_, patience_;
  int64_t count_ = 0, stalled_ = 0;
};

}  // namespace jlstm::JLSTM_SET
